"""Data of one's own: a table that names its clips, or a plain folder of clips."""

import functools
import math
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from unicodedata import normalize

import numpy as np

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import SPLITS, Utterance
from meldflow.storage.format.columns import TEXT
from meldflow.tasks.dataset.annotations import FIELDS as MELD_FIELDS
from meldflow.tasks.dataset.annotations import read_rows
from meldflow.tasks.dataset.cells import decode, read_table
from meldflow.tasks.dataset.layout import SPELLINGS
from meldflow.tasks.dataset.records import ABSENT, Finding, Kind, Known, Row, Table, Wanted
from meldflow.tasks.dataset.tree import Tree, is_folder, other_type
from meldflow.tasks.pages.text import readable

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

_composed = functools.partial(normalize, "NFC")
"""One form for names that look the same: macOS decomposes letters with accents."""


def read_own(file: Path) -> tuple[Table, ...]:
    """The splits of a table in the own-data schema: train, dev, test, then others as they come.

    Raises:
        UsageError: it cannot be read, lacks columns, holds no rows, or a cell that is wrong.
    """
    if is_folder(file, "dataset") or file.suffix.lower() not in SUFFIXES:
        raise UsageError(f"dataset {file}: is no folder and no {' or '.join(SUFFIXES)} file")
    _, columns = read_table(file, REQUIRED.values(), OPTIONAL.values(), _hint)
    names = [name.strip() for name in columns["split"].tolist()]
    splits = _understood(file, dict.fromkeys(names))
    rows = read_rows(file, columns, REQUIRED | OPTIONAL, splits.__getitem__, unlabelled=True)
    held, meant = rows.columns, np.array([splits[name] for name in names], TEXT)
    tables = {
        split: replace(rows, columns={name: one[meant == split] for name, one in held.items()})
        for split in splits.values()
    }
    if not tables:
        raise UsageError(f"annotations {file}: holds no rows")
    order = sorted(tables, key=[*SPLITS, *tables].index)
    return tuple(Table(split=split, file=file, rows=tables[split]) for split in order)


def _hint(columns: Collection[str]) -> str:
    if set(MELD_FIELDS.values()) <= set(columns):
        return "It looks like MELD's: name its folder, not the file"
    return "docs/dataset.md shows what a table of your own has to hold"


def _understood(file: Path, names: Iterable[str]) -> dict[str, str]:
    """What a table calls its splits → the splits."""
    meant = {name: SPELLINGS.get(name.casefold(), name) for name in names}
    for split in SPLITS:
        words = {name.casefold() for name, one in meant.items() if one == split}
        if len(words) > 1:
            both = " and ".join(sorted(words))
            raise UsageError(
                f"annotations {file}: has splits {both}; which is {split!r}? Rename one"
            )
    return meant


class Beside:
    """Where the clips are that a table names: below its folder, unless a path says more."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[Path, dict[str, Path]] = {}

    def wanted(self, row: Row) -> Wanted:
        """A row, and the file that it names."""
        clip = row.cells["clip"].strip()
        return Wanted(utterance=row, candidates=(self._find(clip),) if clip else ())

    def _find(self, written: str) -> Path:
        """The file as written, or else with Windows' separators, in any Unicode form."""
        here, plain = self._folder, self._folder / written
        if _is_there(plain):
            return plain
        for part in Path(written.replace("\\", "/")).parts:
            there = here / part
            here = there if _is_there(there) else self._named(here, part) or there
        return here if _is_there(here) else plain

    def _named(self, folder: Path, name: str) -> Path | None:
        if folder not in self._listed:
            try:
                self._listed[folder] = {_composed(one.name): one for one in folder.iterdir()}
            except (OSError, ValueError):  # a null byte in the name
                self._listed[folder] = {}
        return self._listed[folder].get(_composed(name))


def _is_there(file: Path) -> bool:
    return os.path.exists(file)  # noqa: PTH110 - whose namesake raises where a folder is closed


def clips_in(tree: Tree) -> list[Path]:
    """The files of a plain folder that may be clips as far as their names tell, sorted.

    Raises:
        UsageError: there are none.
    """
    files = sorted(file for file in tree.files if not other_type(file.name))
    if not files:
        raise UsageError(f"clips {tree.root}: no sound or video file is in it or below it")
    return files


def name_clips(files: Sequence[Path], folder: Path, known: Mapping[str, Known]) -> list[str]:
    """What the utterances of a plain folder's clips are called; no two are called the same.

    As the store calls them, whatever lies beside them now; else by the path below the folder,
    without the suffix where no other clip has that name.
    """
    paths = [file.relative_to(folder).as_posix() for file in files]
    composed = list(map(_composed, paths))
    every = set(paths := composed if len(set(composed)) == len(paths) else paths)
    kept = {_below(path, one.name): one.name for path, one in known.items() if one.name}
    kept = {path: name for path, name in kept.items() if name == path or name not in every}
    short = {path: str(PurePosixPath(path).with_suffix("")) for path in every - kept.keys()}
    times = Counter((*every, *short.values(), *(kept[path] for path in every & kept.keys())))
    for path, name in short.items():
        kept[path] = name if times[name] == 1 else path
    return [kept[path] for path in paths]


def _below(path: str, name: str) -> str:
    """Where a clip lies below its folder, by its absolute path and its utterance's name."""
    whole = path.endswith(f"/{name}")
    return _composed(name if whole else name + PurePosixPath(path).suffix)


def texts_beside(clips: Iterable[Path], tree: Tree) -> dict[Path, Path]:
    """Clip → the ``.txt`` file of its name, where there is one."""
    texts = {_stem(file): file for file in tree.files if file.suffix.lower() == ".txt"}
    return {clip: texts[_stem(clip)] for clip in clips if _stem(clip) in texts}


def read_text(file: Path) -> tuple[str, Finding | None]:
    """The text of a file, in UTF-8 or as its byte order mark says; else what was made of it."""
    why = ""
    for encoding in ("utf-8", "cp1252"):
        try:
            text = decode(file.read_bytes(), encoding).strip()
        except (OSError, UnicodeError) as error:
            why = why or str(error)
        else:
            read = f"read as {text!r}"
            other = Finding(Kind.REPAIRED_ENCODING, CLIPS, str(file), why, read) if why else None
            return text, other
    return "", Finding(Kind.LEFT_OUT, CLIPS, str(file), why, "left out")


def clip_wanted(name: str, text: str, file: Path) -> Wanted:
    """The utterance of that name in a plain folder, and its clip."""
    nothing = {"speaker": "", "emotion": "", "sentiment": "", "seconds": math.nan, "clip": ABSENT}
    numbers = {"dialogue": -1, "utterance": -1}
    one = Utterance(split=CLIPS, text=text, name=name, **numbers, **nothing)  # type: ignore[arg-type]
    return Wanted(utterance=one, candidates=(file,))


def left_out(tree: Tree, others: Mapping[Path, str], used: Collection[Path]) -> Iterator[Finding]:
    """A finding for everything in a plain folder but its clips and their texts, ``used``.

    ``others`` says of files that might have been clips why they are none.
    """
    hidden = {folder / name: "hidden" for folder, names in tree.hidden.items() for name in names}
    kinds = {file: f"{kind} by its name" for file in tree.files if (kind := other_type(file.name))}
    for place, why in {**tree.closed, **hidden, **kinds, **others}.items():
        if place not in used:
            yield Finding(Kind.LEFT_OUT, CLIPS, readable(str(place)), why, "left out")


def _stem(file: Path) -> str:
    return _composed(str(file.with_suffix("")))
