"""Tables and single cells: CSV or Parquet becomes strings, a string becomes a time or a text."""

import codecs
import csv
import io
import math
import re
from collections.abc import Callable, Collection, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.storage.format.columns import TEXT, in_columns

DELIMITERS = (",", ";", "\t")
"""What may stand between the columns of a CSV file; the header line decides."""

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""How a text may start → its encoding."""

_TIME = re.compile(r"(\d+):(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?", re.ASCII)

# Copies of the annotations from before November 2020 hold cp1252 punctuation as C1 controls.
_REPAIR = {
    code: bytes([code]).decode("cp1252", errors="ignore") or chr(code) for code in range(0x80, 0xA0)
} | {0xA0: " "}


def read_table(
    file: Path,
    required: Collection[str] = (),
    optional: Collection[str] = (),
    hint: Callable[[Collection[str]], str] = lambda columns: "",
) -> "Columns":
    """The names of all columns of a CSV or Parquet file, and the cells of those that are wanted.

    A missing value is an empty cell, bytes are UTF-8, a number without a fraction is a whole one.

    Args:
        file: the table.
        required: columns that it must have.
        optional: columns that are read where they are there; all others are not.
        hint: of the columns that are there, what to do where one is missing.

    Raises:
        UsageError: it cannot be read as such, lacks a column, has one twice, or one that holds
            neither text nor numbers.
    """
    wanted, about = (*required, *optional), f"annotations {file}"
    read, kind = (_parquet, "Parquet") if file.suffix.lower() == ".parquet" else (_csv, "CSV")
    try:
        columns, values = read(file, wanted)
    except (OSError, ValueError, NotImplementedError, csv.Error) as error:
        raise UsageError(f"{about}: cannot be read as {kind} ({error})") from error
    if missing := [name for name in required if name not in columns]:
        found = ", ".join(columns) or "none"
        raise UsageError(f"{about}: no column {', '.join(missing)}; found {found}. {hint(columns)}")
    if twice := [name for name in wanted if columns.count(name) > 1]:
        raise UsageError(f"{about}: has more than one column {', '.join(twice)}")
    return columns, values


def decode(data: bytes, encoding: str = "utf-8") -> str:
    """The text in ``data``, which a byte order mark may say to be in another encoding.

    Raises:
        UnicodeError: it holds none.
    """
    marked = (named for mark, named in BYTE_ORDER_MARKS.items() if data.startswith(mark))
    text = data.decode(encoding := next(marked, encoding))
    if "\0" in text:
        raise UnicodeError(f"its null characters are not of a text in {encoding.upper()}")
    return text


def parse_seconds(stamp: str) -> float:
    """Seconds of a time such as ``00:16:16,059`` or ``0:10:44,769``; NaN if it is none.

    Fewer than three digits behind the comma are read as a decimal fraction: ``,41`` is 410 ms.
    """
    match = _TIME.fullmatch(stamp.strip())
    if match is None:
        return math.nan
    hours, minutes, seconds, fraction = match.groups()
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + (float(f"0.{fraction}") if fraction else 0.0)


def seconds_between(start: str, end: str) -> float:
    """End minus start; NaN where one of them is no time."""
    return parse_seconds(end) - parse_seconds(start)


def is_ambiguous(stamp: str) -> bool:
    """Whether a time has one or two digits behind the comma: ``,41`` may stand for 41 ms."""
    match = _TIME.fullmatch(stamp.strip())
    return match is not None and match[4] is not None and len(match[4]) < 3


def repair_text(text: str) -> str:
    """The text with cp1252 punctuation restored and hard spaces made plain."""
    return text.translate(_REPAIR)


Columns: TypeAlias = tuple[list[str], dict[str, NDArray[Any]]]
"""Names of all columns, and the cells of those that were asked for, text, shape (n_rows,)."""


def _csv(file: Path, wanted: Collection[str]) -> Columns:
    text = decode(file.read_bytes())
    header = re.split("[\r\n]", text, maxsplit=1)[0]
    delimiter = max(DELIMITERS, key=header.count)
    # As bytes: a StringIO takes four of them for each character.
    source = io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", newline="")
    del text
    # csv gives an empty line as a row without cells.
    lines = filter(None, csv.reader(source, delimiter=delimiter, strict=True))
    columns = [name.strip() for name in next(lines, [])]
    if not columns:
        raise ValueError("it is empty")

    def cells(some: Sequence[tuple[int, list[str]]]) -> dict[str, NDArray[Any]]:
        for number, row in some:
            if len(row) != len(columns):
                raise ValueError(f"row {number}: {len(row)} cells under {len(columns)} columns")
        places = {name: columns.index(name) for name in wanted if name in columns}
        return {name: np.array([row[at] for _, row in some], TEXT) for name, at in places.items()}

    return columns, in_columns(enumerate(lines, start=1), cells)


def _parquet(file: Path, wanted: Collection[str]) -> Columns:
    from pyarrow import parquet

    with parquet.ParquetFile(file) as source:
        columns = source.schema_arrow.names
        table = source.read([name for name in wanted if name in columns])
    pairs = zip(table.column_names, table.columns, strict=True)
    return columns, {name: _cells(name, column) for name, column in pairs}


def _cells(name: str, column: Any) -> NDArray[Any]:
    try:
        return np.array(list(map(_cell, column.to_pylist())), TEXT)
    except (TypeError, UnicodeDecodeError) as error:
        raise ValueError(f"column {name} holds {column.type}, not UTF-8 or numbers") from error


def _cell(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, bytes):
        return value.decode().rstrip("\0")  # which fill what is of a fixed size
    if isinstance(value, bool) or not isinstance(value, float | int | Decimal):
        raise TypeError
    if math.isnan(value):
        return ""
    return str(int(value) if math.isfinite(value) and value == int(value) else value)
