"""What intake reads and gives: rows, tables, counts, and all of it together."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import BaseModel, Field

from meldflow.models.schema.utterances import EMOTIONS, Clip, Utterance
from meldflow.storage.format.catalogue import NO_FILE
from meldflow.storage.format.columns import Records
from meldflow.tasks.dataset.findings import Finding, Kind

FEW = 5
"""Files that a line names."""

_SUBJECT = r"^([^/]+)(?:/dia(\d+)(?:_utt(\d+))?)?$"

ABSENT = Clip(path="", sha256=NO_FILE, size=0, mtime_ns=0, seconds=math.nan)
"""The clip of an utterance that has none; with a path, one that is not there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row(Utterance):
    """An utterance as an annotation file has it; its clip is yet to be found."""

    start: str = ""
    """Time stamp in the episode, as written; empty in own data."""
    end: str = ""
    cells: Mapping[str, str] = field(compare=False)
    """Field → cell, letter for letter as the file has it."""

    @property
    def key(self) -> tuple[int, int]:
        """Dialogue and utterance: the key within a split."""
        return self.dialogue, self.utterance

    @property
    def clip_key(self) -> tuple[int, int]:
        """Dialogue and utterance in its clip's name; MELD_Dyadic numbers its rows anew."""
        if not self.cells.get("old_dialogue"):
            return self.key
        return int(self.cells["old_dialogue"]), int(self.cells["old_utterance"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """An utterance that wants a clip."""

    utterance: Utterance
    candidates: tuple[Path, ...]
    """Files that may be its clip, in order of preference."""
    expected: Path | None = None
    """Where the clip should be if there is no candidate; None where nobody can tell."""


class Known(NamedTuple):
    """What a store has of a file."""

    name: str
    """What its utterance is called; empty where that has a dialogue and a number."""
    clip: Clip


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitCounts:
    """What an annotation table holds."""

    rows: int
    dialogues: int
    emotions: Mapping[str, int]
    """Emotion → rows: MELD's seven first, then whatever else there is (``""``: no label)."""

    @classmethod
    def of(cls, rows: Iterable[tuple[int, str]]) -> SplitCounts:
        """Counts rows, of which each gives its dialogue and its emotion."""
        labelled = list(rows)
        emotions = Counter(emotion for _, emotion in labelled)
        return cls(
            rows=len(labelled),
            dialogues=len({dialogue for dialogue, _ in labelled}),
            emotions=dict.fromkeys(EMOTIONS, 0) | dict(sorted(emotions.items())),
        )

    @property
    def by_name(self) -> dict[str, int]:
        """Name of a count → the count, emotions last."""
        return {"utterances": self.rows, "dialogues": self.dialogues, **self.emotions}


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """An annotation file of a split, and its rows once they are read."""

    split: str
    file: Path
    rows: Records[Row] = field(default_factory=lambda: Records({}, lambda cells: Row(**cells)))
    dyadic: bool = False
    """Whether it is MELD_Dyadic's: other dialogues, made of MELD's utterances."""


class Change(BaseModel, frozen=True, extra="forbid"):
    """A cell's value in the published file, and the one to read instead."""

    was: str
    now: str


class Fix(BaseModel, frozen=True, extra="forbid"):
    """One known defect."""

    id: str
    utterance: str = Field(pattern=_SUBJECT)
    """What it is about: ``train/dia12_utt3``, ``train/dia12`` for a whole dialogue, or ``train``
    for all findings of a split."""
    kind: Kind
    """The kind of finding that it explains."""
    text: str = Field(pattern=r"^[0-9a-f]{12}$")
    """Digest (``tasks.dataset.fixes.digest``) of the text there, so that the list leaves data alone
    that only share MELD's ids: of the row; where no row has that id, of the last one before it; for
    a split, of all texts, one a line, by id."""
    why: str
    source: str = Field(pattern="^https?://")
    """Address of what says so."""
    set: Mapping[Literal["StartTime", "EndTime"], Change] = {}
    """Column → change, made only where the row still holds what it ``was``."""

    @property
    def place(self) -> tuple[str, tuple[int, int] | None]:
        """Split, and (dialogue, utterance): utterance -1 for a dialogue, None for a split."""
        split, dialogue, utterance = re.findall(_SUBJECT, self.utterance)[0]
        return split, (int(dialogue), int(utterance or -1)) if dialogue else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A catalogue of utterances, and everything that was noticed on the way to it."""

    utterances: Records[Utterance]
    findings: tuple[Finding, ...]
    files: tuple[Path, ...] = ()
    """The annotation files that were read."""
    fixes: tuple[Fix, ...] = ()
    """Entries of the fix list that were seen; empty where it was switched off."""
    fixes_version: int = 0
    """Version of the fix list; 0 where it was switched off."""

    @property
    def splits(self) -> dict[str, SplitCounts]:
        """Split → counts, in the order train, dev, test, others."""
        rows: dict[str, list[tuple[int, str]]] = {}
        for one in self.utterances:
            rows.setdefault(one.split, []).append((one.dialogue, one.emotion))
        return {split: SplitCounts.of(own) for split, own in rows.items()}

    @property
    def left_out(self) -> tuple[str, ...]:
        """What no utterance was made of, a line for each reason."""
        reasons: dict[str, list[str]] = {}
        for one in self.findings:
            if one.kind is Kind.LEFT_OUT:
                reasons.setdefault(one.detail, []).append(one.subject)
        lines = []
        for why, places in reasons.items():
            more = f" and {len(places) - FEW:,} more" if len(places) > FEW else ""
            lines.append(f"{why}: {', '.join(places[:FEW])}{more}")
        return tuple(lines)
