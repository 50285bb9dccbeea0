"""Intake: MELD's CSV files and clip folders become a catalogue of utterances.

The key of an utterance is (split, dialogue, utterance): the ids alone recur across splits.
Nothing is dropped here. A row whose clip is not there stays in the catalogue with an empty
path, and ends in the store with the reason ``missing_file``.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from models.container import declared_seconds
from models.schema import CLIP_FOLDERS, EMOTIONS, SPLITS, Clip, UsageError, Utterance
from storage.catalogue import NO_FILE
from tasks.progress import progress

COLUMNS = ("Utterance", "Speaker", "Emotion", "Dialogue_ID", "Utterance_ID", "StartTime", "EndTime")
"""Columns that an annotation file must have; ``Sentiment`` is read where it is there."""

CLIP_NAME = re.compile(r"dia(\d+)_utt(\d+)\.mp4", re.IGNORECASE)

# Copies of the annotations from before November 2020 hold cp1252 punctuation as C1 controls.
_REPAIR = {
    code: bytes([code]).decode("cp1252", errors="ignore") or chr(code) for code in range(0x80, 0xA0)
} | {0xA0: " "}

_TIME = re.compile(r"(\d+):(\d{1,2}):(\d{1,2})(?:[,.](\d{1,3}))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Annotations:
    """One split's annotation file, read, and the folder of its clips."""

    split: str
    table: pd.DataFrame
    folder: Path | None


def read_catalogue(dataset: Path, *, known: Mapping[str, Clip] | None = None) -> list[Utterance]:
    """The utterances of a MELD-shaped tree: train, dev, test, each in its file's order.

    Args:
        dataset: the folder that holds the CSV files and the clip folders, at any depth.
        known: path → clip as catalogued before; one whose size and time of change are the
            same is not read again.

    Raises:
        UsageError: the folder, the annotations or their columns are not there.
    """
    drafts = [
        (one.split, row, path)
        for one in find_annotations(dataset)
        for row, path in zip(one.table.to_dict("records"), _clip_paths(one), strict=True)
    ]
    if not drafts:
        raise UsageError(f"dataset {dataset}: its annotation files hold no utterances")
    clips = _identify([path for _, _, path in drafts], known or {})
    pairs = zip(drafts, clips, strict=True)
    return [_utterance(split, row, clip) for (split, row, _), clip in pairs]


def find_annotations(dataset: Path) -> list[Annotations]:
    """The annotation files under ``dataset``, in the order train, dev, test.

    Raises:
        UsageError: see ``read_catalogue``.
    """
    if not dataset.is_dir():
        what = "is a file, not a folder" if dataset.is_file() else "does not exist"
        raise UsageError(f"dataset {dataset}: {what}; name the folder with MELD's CSV files")
    files = {split: _find_csv(dataset, split) for split in SPLITS}
    if not any(files.values()):
        names = ", ".join(f"{split}_sent_emo.csv" for split in SPLITS)
        raise UsageError(
            f"dataset {dataset}: none of {names} is in it or below it; "
            "unpack MELD.Raw.tar.gz there, or try `meldflow synth DIR`"
        )
    found = []
    for split, file in files.items():
        if file is not None:
            folder = _find_folder(dataset, CLIP_FOLDERS[split])
            found.append(Annotations(split=split, table=read_table(file), folder=folder))
    return found


def read_table(file: Path) -> pd.DataFrame:
    """An annotation file with MELD's columns, its text repaired, its labels in lower case.

    Raises:
        UsageError: the file cannot be read as CSV, lacks columns, holds an id or an emotion
            that is none, or names an utterance twice.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise UsageError(f"annotations {file}: cannot be read as CSV ({error})") from error
    if missing := [name for name in COLUMNS if name not in table.columns]:
        raise UsageError(
            f"annotations {file}: no column {', '.join(missing)}; "
            f"found {', '.join(map(str, table.columns))}. Is this MELD's *_sent_emo.csv?"
        )
    for name in ("Utterance", "Speaker"):
        table[name] = table[name].map(repair_text)
    table["Emotion"] = table["Emotion"].str.strip().str.lower()
    _check(
        file, table, "Emotion", table["Emotion"].isin(EMOTIONS), f"none of {', '.join(EMOTIONS)}"
    )
    for name in ("Dialogue_ID", "Utterance_ID"):
        _check(file, table, name, table[name].str.fullmatch(r"\s*\d+\s*"), "not a whole number")
        table[name] = table[name].astype(int)
    once = ~table.duplicated(["Dialogue_ID", "Utterance_ID"])
    _check(file, table, "Utterance_ID", once, "there twice in this dialogue")
    return table


def _check(file: Path, table: pd.DataFrame, name: str, good: pd.Series[bool], wrong: str) -> None:
    """Refuses the file at its first row that is not ``good``."""
    if not good.all():
        row = int((~good).to_numpy().argmax())
        raise UsageError(
            f"annotations {file}, row {row + 1}: {name} {str(table[name][row])!r} is {wrong}"
        )


def parse_seconds(stamp: str) -> float:
    """Seconds of a time such as ``00:16:16,059`` or ``0:10:44,769``; NaN if it is none.

    Two digits behind the comma (three rows of MELD) are read as hundredths.
    """
    match = _TIME.fullmatch(stamp.strip())
    if match is None:
        return math.nan
    hours, minutes, seconds, fraction = match.groups()
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + (float(f"0.{fraction}") if fraction else 0.0)


def repair_text(text: str) -> str:
    """The text with cp1252 punctuation restored and hard spaces made plain."""
    return text.translate(_REPAIR)


def identify_clip(path: Path, known: Mapping[str, Clip]) -> Clip:
    """Checksum, size, time of change and declared duration of a file.

    A file that cannot be read has no checksum; extraction says why it fails.
    """
    absolute = str(path.absolute())
    try:
        stat = path.stat()
        before = known.get(absolute)
        if before and (before.size, before.mtime_ns) == (stat.st_size, stat.st_mtime_ns):
            return before
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return Clip(path=absolute, sha256=NO_FILE, size=0, mtime_ns=0, seconds=math.nan)
    return Clip(
        path=absolute,
        sha256=digest,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        seconds=declared_seconds(path),
    )


def _identify(paths: Sequence[Path | None], known: Mapping[str, Clip]) -> list[Clip]:
    """Clips in the order of ``paths``; files are read by as many threads as there are cores."""
    absent = Clip(path="", sha256=NO_FILE, size=0, mtime_ns=0, seconds=math.nan)

    def identify(path: Path | None) -> Clip:
        clip = absent if path is None else identify_clip(path, known)
        advance(1)
        return clip

    with (
        progress("reading clips", len(paths), "clips") as advance,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        return list(pool.map(identify, paths))


def _utterance(split: str, row: Mapping[Hashable, Any], clip: Clip) -> Utterance:
    start, end = parse_seconds(row["StartTime"]), parse_seconds(row["EndTime"])
    return Utterance(
        split=split,
        dialogue=int(row["Dialogue_ID"]),
        utterance=int(row["Utterance_ID"]),
        text=row["Utterance"],
        speaker=row["Speaker"],
        emotion=row["Emotion"],
        sentiment=row.get("Sentiment", ""),
        seconds=end - start,
        clip=clip,
    )


def _find_csv(dataset: Path, split: str) -> Path | None:
    """The split's annotation file nearest to the data set's root."""
    found = dataset.rglob(f"{split}_sent_emo.csv")
    files = (path for path in found if not path.name.startswith("._"))
    return min(files, key=lambda path: (len(path.parts), str(path)), default=None)


def _find_folder(dataset: Path, name: str) -> Path | None:
    """The innermost folder called ``name``: archives nest train/train_splits."""
    found = (path for path in dataset.rglob(name) if path.is_dir())
    return max(found, key=lambda path: (len(path.parts), str(path)), default=None)


def _clip_paths(annotations: Annotations) -> list[Path | None]:
    """The clip of every row, in order; where there is none, the path it should have."""
    folder, table = annotations.folder, annotations.table
    if folder is None:
        return [None] * len(table)
    matches = ((CLIP_NAME.fullmatch(entry.name), entry.path) for entry in os.scandir(folder))
    found = {(int(m[1]), int(m[2])): Path(path) for m, path in matches if m}
    ids = zip(table["Dialogue_ID"], table["Utterance_ID"], strict=True)
    return [found.get((d, u), folder / f"dia{d}_utt{u}.mp4") for d, u in ids]
