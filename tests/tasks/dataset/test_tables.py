"""Tables of one's own: of any type and encoding, read or refused by column."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from meldflow.flows.serving.changes import look
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.dataset import take_in
from meldflow.tasks.dataset.cells import read_table
from meldflow.tasks.dataset.own import REQUIRED, read_own
from meldflow.tasks.dataset.records import Kind, Row
from tests.paths import DATA
from tests.tasks.dataset.standins import clip_of

CASE = DATA / "cases" / "binary_text.parquet"
TEXTS = ["Hello", None, "Größe"]


def rows_of(file: Path) -> list[Row]:
    return [row for table in read_own(file) for row in table.rows]


def write(file: Path, **columns: Any) -> Path:
    """A Parquet file of three rows, with the columns that are wanted and are not given."""
    base = {
        "split": pa.array(["train"] * 3),
        "dialogue_id": pa.array([0, 0, 1]),
        "utterance_id": pa.array([0, 1, 0]),
        "clip": pa.array([""] * 3),
    }
    parquet.write_table(pa.table({**base, **columns}), file)
    return file


@pytest.mark.skipif(not CASE.is_file(), reason=f"no {CASE}")
def test_bytes_are_text() -> None:
    assert [row.text for row in rows_of(CASE)] == ["Hello", "Bye"]


@pytest.mark.parametrize(
    "kind",
    [
        pa.string(),
        pa.large_string(),
        pa.string_view(),
        pa.binary(),
        pa.large_binary(),
        pa.binary_view(),
        pa.dictionary(pa.int8(), pa.string()),
    ],
    ids=str,
)
def test_texts_of_any_type(tmp_path: Path, kind: pa.DataType) -> None:
    file = write(tmp_path / "mine.parquet", text=pa.array(TEXTS, pa.string()).cast(kind))
    assert [row.text for row in rows_of(file)] == ["Hello", "", "Größe"]


def test_texts_of_a_fixed_size(tmp_path: Path) -> None:
    cells = [b"Hello", None, b"Bye\0\0"]
    file = write(tmp_path / "mine.parquet", text=pa.array(cells, pa.binary(5)))
    assert [row.text for row in rows_of(file)] == ["Hello", "", "Bye"]


@pytest.mark.parametrize(
    "kind",
    [pa.int8(), pa.uint64(), pa.float16(), pa.float64(), pa.decimal128(5, 2), pa.string()],
    ids=str,
)
def test_ids_of_any_type(tmp_path: Path, kind: pa.DataType) -> None:
    values = [Decimal(7), Decimal(8), Decimal(9)] if pa.types.is_decimal(kind) else [7, 8, 9]
    ids = pa.array(list(map(str, values)) if kind == pa.string() else values).cast(kind)
    file = write(tmp_path / "mine.parquet", utterance_id=ids)
    assert [row.utterance for row in rows_of(file)] == [7, 8, 9]


def test_what_pandas_writes(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "split": pd.Categorical(["train", "dev", "test"]),
            "dialogue_id": pd.array([0, 1, 2], dtype="Int64"),
            "utterance_id": [0.0, 1.0, 2.0],
            "clip": [float("nan")] * 3,
            "text": ["Hi.", None, float("nan")],
            "emotion": ["joy", "", None],
            "when": pd.to_datetime(["2020-01-01"] * 3),
            "vector": [[1.0], [2.0], [3.0]],
        }
    )
    frame.to_parquet(tmp_path / "mine.parquet")
    rows = rows_of(tmp_path / "mine.parquet")
    assert [(row.id, row.text, row.emotion, row.cells["clip"]) for row in rows] == [
        ("train/dia0_utt0", "Hi.", "joy", ""),
        ("dev/dia1_utt1", "", "", ""),
        ("test/dia2_utt2", "", "", ""),
    ]


def test_no_number_is_no_text(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.parquet", text=pa.array([float("nan"), 3.0, 2.5]))
    assert [row.text for row in rows_of(file)] == ["", "3", "2.5"]


@pytest.mark.parametrize(
    ("cells", "says"),
    [
        (pa.array([["a"], ["b"], []]), r"column text holds list<.*, not UTF-8 or numbers"),
        (pa.array([{"a": 1}] * 3), "column text holds struct<"),
        (pa.array([True, False, None]), "column text holds bool"),
        (pa.array([datetime.datetime(2020, 1, 1)] * 3), "column text holds timestamp"),
        (pa.array([datetime.date(2020, 1, 1)] * 3), "column text holds date32"),
        (pa.array([b"\xff\xfe", b"", b""]), "column text holds binary, not UTF-8"),
    ],
    ids=lambda one: str(one.type) if isinstance(one, pa.Array) else "",
)
def test_columns_that_are_none(tmp_path: Path, cells: pa.Array, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        read_own(write(tmp_path / "mine.parquet", text=cells))


def test_half_ids_are_none(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.parquet", utterance_id=pa.array([0.5, 1.0, float("inf")]))
    with pytest.raises(UsageError, match=r"row 1: utterance_id '0\.5' is not a whole number"):
        read_own(file)


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    names = ["split", "dialogue_id", "utterance_id", "clip", "text", "text", "other", "other"]
    rows: list[Sequence[Any]] = [["train", 0, 0, "", "Hi.", "Bye.", "", ""]]
    table = pa.table([pa.array([cell]) for cell in rows[0]], names=names)
    parquet.write_table(table, tmp_path / "mine.parquet")
    (tmp_path / "mine.csv").write_bytes(as_csv([names, *rows]).encode())
    for file in (tmp_path / "mine.parquet", tmp_path / "mine.csv"):
        with pytest.raises(UsageError, match=r"has more than one column text$"):
            read_own(file)


def test_a_folder_called_like_a_partition_adds_no_column(tmp_path: Path) -> None:
    (tmp_path / "split=dev").mkdir()
    (row, *_) = rows_of(write(tmp_path / "split=dev" / "mine.parquet"))
    assert row.split == "train"


def as_csv(rows: Sequence[Sequence[Any]], **how: Any) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, **how).writerows(rows)
    return text.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_csv_as_programs_write_it(tmp_path: Path, encoding: str, delimiter: str, end: str) -> None:
    rows: list[list[Any]] = [
        ["split", "dialogue_id", "utterance_id", "clip", "text"],
        ["train", 0, 0, "", 'She said: "Oh,\n well; yes\t"'],
        ["train", 0, 1, "", "Größe – 😀"],
    ]
    text = as_csv(rows, delimiter=delimiter, lineterminator=end)
    (tmp_path / "mine.csv").write_bytes(text.encode(encoding))
    assert [row.text for row in rows_of(tmp_path / "mine.csv")] == [rows[1][4], rows[2][4]]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("split,clip\nä".encode("latin-1"), "'utf-8' codec can't decode byte 0xe4"),
        ("split,clip".encode("utf-16-le"), "null characters"),
        (b"", "it is empty"),
    ],
)
def test_csv_that_is_none(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "mine.csv").write_bytes(content)
    with pytest.raises(UsageError, match=rf"mine\.csv: cannot be read as CSV \(.*{says}"):
        read_table(tmp_path / "mine.csv")


@pytest.mark.parametrize(
    ("written", "splits"),
    [
        (["Train", "TEST", "valid"], {"Train": "train", "TEST": "test", "valid": "dev"}),
        (["training", "Val", "testing"], {"training": "train", "Val": "dev", "testing": "test"}),
        (["dev", "DEV", "pilot"], {"dev": "dev", "DEV": "dev", "pilot": "pilot"}),
    ],
)
def test_spellings_of_splits(
    tmp_path: Path, written: Sequence[str], splits: Mapping[str, str]
) -> None:
    head = ["split", "dialogue_id", "utterance_id", "clip"]
    rows = [[f" {split}", 0, number, ""] for number, split in enumerate(written)]
    (tmp_path / "mine.csv").write_text(as_csv([head, *rows]))
    assert {
        row.cells["split"].strip(): row.split for row in rows_of(tmp_path / "mine.csv")
    } == splits
    findings = take_in(tmp_path / "mine.csv").findings
    told = {one.subject for one in findings if one.kind is Kind.LABEL_SPELLING}
    usual = {"train", "dev", "test", "pilot"}
    assert told == {f"{split}: {name}" for name, split in splits.items() if name not in usual}


def test_two_names_of_one_split_are_not_guessed_at(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.parquet", split=pa.array(["val", "dev", "VAL"]))
    with pytest.raises(UsageError, match=r"has splits dev and val; which is 'dev'\? Rename one"):
        read_own(file)


@pytest.mark.parametrize(
    ("on_disk", "written"),
    [
        ("NFD", "clips/Zoë/Zürich.mp4"),
        ("NFC", normalize("NFD", "clips/Zoë/Zürich.mp4")),
        ("NFC", r"clips\Zoë\Zürich.mp4"),
        ("NFD", r".\clips\Zoë\Zürich.mp4"),
    ],
)
def test_a_clip_is_found_however_its_name_is_written(
    tmp_path: Path, on_disk: str, written: str
) -> None:
    clip = tmp_path / normalize(on_disk, "clips/Zoë/Zürich.mp4")  # type: ignore[arg-type]
    clip.parent.mkdir(parents=True)
    clip.write_bytes(clip_of(1.0))
    for path in (written, str(tmp_path / written)):
        table: list[list[Any]] = [list(REQUIRED.values()), ["pilot", 0, 0, path]]
        (tmp_path / "mine.csv").write_text(as_csv(table), encoding="utf-8")
        intake = take_in(tmp_path / "mine.csv")
        assert not intake.findings
        assert Path(next(iter(intake.utterances)).clip.path) == clip


@pytest.mark.parametrize(
    "path", ["no\\where.mp4", "a\0b.mp4", "x" * 300 + ".mp4", "mine.csv/a.mp4"]
)
def test_a_clip_that_is_nowhere(tmp_path: Path, path: str) -> None:
    write(tmp_path / "mine.parquet", clip=pa.array([path] * 3))
    intake = take_in(tmp_path / "mine.parquet")
    assert {one.kind for one in intake.findings} <= {Kind.MISSING_CLIP, Kind.UNREADABLE_CLIP}
    assert [one.clip.path for one in intake.utterances] == [str(tmp_path / path)] * 3


def test_the_clips_of_a_table_are_watched_where_they_are(tmp_path: Path) -> None:
    file = write(tmp_path / "mine.parquet", clip=pa.array([r"clips\a.wav"] * 3))
    before = look(file)
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.wav").write_bytes(b"sound")
    assert look(file).last != before.last
