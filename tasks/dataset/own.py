"""Data of one's own: a table that names its clips, or a plain folder of clips."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import SPLITS, Utterance
from meldflow.tasks.dataset.annotations import FIELDS as MELD_FIELDS
from meldflow.tasks.dataset.annotations import read_rows
from meldflow.tasks.dataset.cells import read_table
from meldflow.tasks.dataset.clips import ABSENT, Wanted
from meldflow.tasks.dataset.records import Row, Table
from meldflow.tasks.dataset.tree import is_media, walk

REQUIRED = {
    "split": "split",
    "dialogue": "dialogue_id",
    "utterance": "utterance_id",
    "clip": "clip",
}
OPTIONAL = {"text": "text", "speaker": "speaker", "emotion": "emotion"}
"""Field → column of the own-data schema."""

SUFFIXES = (".csv", ".parquet")

CLIPS = "clips"
"""The split of a plain folder's utterances."""


def read_own(file: Path) -> tuple[Table, ...]:
    """The splits of a table in the own-data schema: train, dev, test, then others as they come.

    Raises:
        UsageError: it cannot be read, lacks columns, holds no rows, or a cell that is wrong.
    """
    if not file.exists():
        raise UsageError(f"dataset {file}: does not exist")
    if file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"dataset {file}: is no folder and no {' or '.join(SUFFIXES)} file")
    cells = read_table(file)
    hint = "docs/dataset.md shows what a table of your own has to hold"
    if all(name in cells.columns for name in MELD_FIELDS.values()):
        hint = "It looks like MELD's: name its folder, not the file"
    cells.require(tuple(REQUIRED.values()), hint)
    rows: dict[str, list[Row]] = {}
    for row in read_rows(cells, REQUIRED | OPTIONAL, unlabelled=True):
        rows.setdefault(row.split, []).append(row)
    if not rows:
        raise UsageError(f"annotations {file}: holds no rows")
    order = [*(split for split in SPLITS if split in rows), *(s for s in rows if s not in SPLITS)]
    return tuple(Table(split=split, file=file, rows=tuple(rows[split])) for split in order)


def wanted_by(row: Row, folder: Path) -> Wanted:
    """The clip that a row of one's own names, below ``folder`` unless it says otherwise."""
    clip = row.cells["clip"].strip()
    return Wanted(
        id=row.id,
        split=row.split,
        seconds=math.nan,
        candidates=(folder / clip,) if clip else (),
        expected=None,
    )


def read_folder(folder: Path) -> Iterator[tuple[Utterance, Path]]:
    """An utterance without a clip, and the clip's path, for every media file below a folder.

    Raises:
        UsageError: the folder cannot be listed or holds no media file.
    """
    tree = walk(folder, "clips")
    files = sorted(file for file in tree.files if is_media(file.name))
    if not files:
        raise UsageError(f"clips {folder}: no sound or video file is in it or below it")
    for file, name in zip(files, _names(files, folder), strict=True):
        yield _utterance(name, _text_beside(file)), file


def _utterance(name: str, text: str) -> Utterance:
    return Utterance(
        split=CLIPS,
        dialogue=-1,
        utterance=-1,
        text=text,
        speaker="",
        emotion="",
        sentiment="",
        seconds=math.nan,
        clip=ABSENT,
        name=name,
    )


def _names(files: Sequence[Path], folder: Path) -> list[str]:
    """Relative paths without suffix; those that would not be unique keep theirs."""
    full = [file.relative_to(folder).as_posix() for file in files]
    names = [str(Path(name).with_suffix("")) for name in full]
    while shared := {name for name, count in Counter(names).items() if count > 1}:
        names = [whole if name in shared else name for name, whole in zip(names, full, strict=True)]
    return names


def _text_beside(clip: Path) -> str:
    """What a ``.txt`` file of the clip's name holds; empty where there is none.

    Raises:
        UsageError: there is one, and it is no UTF-8 text.
    """
    file = clip.with_suffix(".txt")
    try:
        return file.read_text(encoding="utf-8-sig").strip()
    except (FileNotFoundError, IsADirectoryError):
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"text {file}: cannot be read ({error})") from error
