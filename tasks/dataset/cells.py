"""Tables and single cells: CSV or Parquet becomes strings, a string becomes a time or a text."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meldflow.models.schema.errors import UsageError

DELIMITERS = (",", ";", "\t")
"""What may stand between the columns of a CSV file; the header line decides."""

_TIME = re.compile(r"(\d+):(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?", re.ASCII)

# Copies of the annotations from before November 2020 hold cp1252 punctuation as C1 controls.
_REPAIR = {
    code: bytes([code]).decode("cp1252", errors="ignore") or chr(code) for code in range(0x80, 0xA0)
} | {0xA0: " "}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A table as it is in its file: every cell a string."""

    file: Path
    columns: tuple[str, ...]
    records: Sequence[Mapping[str, str]]
    """Column → cell, one per row."""

    def require(self, columns: Sequence[str], hint: str) -> None:
        """Refuses a table that lacks one of ``columns``.

        Raises:
            UsageError: it does; the message names what is missing, what is there, and ``hint``.
        """
        if missing := [name for name in columns if name not in self.columns]:
            raise UsageError(
                f"annotations {self.file}: no column {', '.join(missing)}; "
                f"found {', '.join(self.columns) or 'none'}. {hint}"
            )


def read_table(file: Path) -> Cells:
    """The cells of a CSV (UTF-8, with or without a byte order mark) or Parquet file.

    Raises:
        UsageError: it cannot be read as such.
    """
    return _read_parquet(file) if file.suffix.lower() == ".parquet" else _read_csv(file)


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


def is_ambiguous(stamp: str) -> bool:
    """Whether a time has one or two digits behind the comma: ``,41`` may stand for 41 ms."""
    match = _TIME.fullmatch(stamp.strip())
    return match is not None and match[4] is not None and len(match[4]) < 3


def repair_text(text: str) -> str:
    """The text with cp1252 punctuation restored and hard spaces made plain."""
    return text.translate(_REPAIR)


def _read_csv(file: Path) -> Cells:
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            delimiter = max(DELIMITERS, key=stream.readline().count)
            stream.seek(0)
            header, *rows = csv.reader(stream, delimiter=delimiter, strict=True)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"annotations {file}: cannot be read as CSV ({error})") from error
    except ValueError:
        raise UsageError(f"annotations {file}: cannot be read as CSV (it is empty)") from None
    rows = [row for row in rows if row]  # csv gives an empty line as a row without cells
    for number, row in enumerate(rows, start=1):
        if len(row) != len(header):
            raise UsageError(
                f"annotations {file}, row {number}: {len(row)} cells under {len(header)} columns"
            )
    columns = tuple(name.strip() for name in header)
    records = [dict(zip(columns, row, strict=True)) for row in rows]
    return Cells(file=file, columns=columns, records=records)


def _read_parquet(file: Path) -> Cells:
    import pyarrow as arrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(file)
    except (OSError, arrow.ArrowException) as error:
        raise UsageError(f"annotations {file}: cannot be read as Parquet ({error})") from error
    records = [{name: _text(value) for name, value in row.items()} for row in table.to_pylist()]
    return Cells(file=file, columns=tuple(table.column_names), records=records)


def _text(value: object) -> str:
    return "" if value is None else str(value)
