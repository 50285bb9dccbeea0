"""What intake reads and gives: rows, tables, counts, findings, and all of it together."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import BaseModel, Field

from meldflow.models.schema.utterances import EMOTIONS, Clip, Utterance
from meldflow.storage.format.catalogue import NO_FILE
from meldflow.storage.format.columns import Records

FEW = 5
"""Files that a line names."""

_SUBJECT = r"^([^/]+)(?:/dia(\d+)(?:_utt(\d+))?)?$"

ABSENT = Clip(path="", sha256=NO_FILE, size=0, mtime_ns=0, seconds=math.nan)
"""The clip of an utterance that has none; with a path, one that is not there."""


class Kind(StrEnum):
    """What is wrong, or worth knowing, about a row, a clip or a file."""

    meaning: str
    """The kind in one sentence, for people."""

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """A kind, by its value alone once it is there."""
        kind = str.__new__(cls, value)
        kind._value_, kind.meaning = value, meaning
        return kind

    @property
    def words(self) -> str:
        """Its name for people."""
        return self.replace("_", " ").capitalize()

    MISSING_CLIP = "missing_clip", "A row whose clip is not there."
    CLIP_WITHOUT_ROW = "clip_without_row", "A clip that no row of the annotations names."
    UNREADABLE_CLIP = "unreadable_clip", "A clip that cannot be opened."
    LEFT_OUT = "left_out", "A file or folder that no utterance is made of."
    STUB = "stub", "macOS `._` files in a folder; they hold no clips."
    TWIN = "twin", "A clip that is there in two cuts."
    DURATION_DIFFERS = "duration_differs", "The clip is shorter or longer than its row says."
    ZERO_DURATION = "zero_duration", "The row starts and ends at the same time."
    NEGATIVE_DURATION = "negative_duration", "The row ends before it starts."
    ABSURD_DURATION = "absurd_duration", "The row is too short or too long for an utterance."
    AMBIGUOUS_TIME = "ambiguous_time", "A time stamp that can be read in more than one way."
    UNREADABLE_TIME = "unreadable_time", "A time stamp that is none."
    REPAIRED_ENCODING = (
        "repaired_encoding",
        "Characters in another encoding than UTF-8, or garbled by one.",
    )
    DUPLICATE_TEXT = "duplicate_text", "A text that another split has as well."
    OUT_OF_ORDER = "out_of_order", "A row that stands before one that it should follow."
    ID_GAP = "id_gap", "Ids that are left out."
    LABEL_SPELLING = "label_spelling", "A label, or a split, in another spelling."
    COUNT_DIFFERS = "count_differs", "A count that is not the published one."
    OTHER_COPY = "other_copy", "Annotations or clips that are there more than once."
    REPORTED = "reported", "A defect that people reported and that no check can find."


@dataclass(frozen=True, slots=True)
class Finding:
    """One discrepancy, and what was made of it."""

    kind: Kind
    split: str
    subject: str
    """What it is about: an utterance's id (``train/dia12_utt3``), a file or a count."""
    detail: str
    """What was seen, with the values."""
    decision: str
    """What was decided: what the extraction will do with it."""
    known: str = ""
    """Id of the entry in the fix list that knows it; empty where it is news."""


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
