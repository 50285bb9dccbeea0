"""What intake reads and gives: rows, tables, counts, and all of it together."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from meldflow.models.schema.utterances import EMOTIONS, Clip, Utterance, utterance_id
from meldflow.tasks.dataset.cells import parse_seconds
from meldflow.tasks.dataset.findings import Finding, Kind

_SUBJECT = re.compile(r"([^/]+)(?:/dia(\d+)(?:_utt(\d+))?)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of an annotation file, as it is read."""

    split: str
    dialogue: int
    utterance: int
    text: str
    speaker: str
    emotion: str
    """In lower case; empty where own data have no label."""
    start: str
    """Time stamp in the episode, as written; empty in own data."""
    end: str
    cells: Mapping[str, str]
    """Field → cell, letter for letter as the file has it."""

    @property
    def id(self) -> str:
        """The id of its utterance, e.g. ``train/dia12_utt3``."""
        return utterance_id(self.split, self.dialogue, self.utterance)

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

    @property
    def seconds(self) -> float:
        """End minus start; NaN where one of them is no time."""
        return parse_seconds(self.end) - parse_seconds(self.start)

    def utterance_with(self, clip: Clip) -> Utterance:
        """The utterance that the row and its clip make."""
        return Utterance(
            split=self.split,
            dialogue=self.dialogue,
            utterance=self.utterance,
            text=self.text,
            speaker=self.speaker,
            emotion=self.emotion,
            sentiment=self.cells.get("sentiment", ""),
            seconds=self.seconds,
            clip=clip,
        )


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
    rows: tuple[Row, ...] = ()
    dyadic: bool = False
    """Whether it is MELD_Dyadic's: other dialogues, made of MELD's utterances."""

    @property
    def counts(self) -> SplitCounts:
        """Rows, dialogues and emotions."""
        return SplitCounts.of((row.dialogue, row.emotion) for row in self.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A cell's value in the published file, and the one to read instead."""

    was: str
    now: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One known defect."""

    id: str
    utterance: str
    """What it is about: ``train/dia12_utt3``, ``train/dia12`` for a whole dialogue, or ``train``
    for all findings of a split."""
    kind: Kind
    """The kind of finding that it explains."""
    text: str
    """Digest (``tasks.dataset.fixes.digest``) of the text there, so that the list leaves data alone
    that only share MELD's ids: of the row; where no row has that id, of the last one before it; for
    a split, of all texts, one a line, by id."""
    why: str
    source: str
    """Address of what says so."""
    set: Mapping[str, Change] = field(default_factory=dict)
    """Column → change, made only where the row still holds what it ``was``."""

    @property
    def place(self) -> tuple[str, tuple[int, int] | None]:
        """Split, and (dialogue, utterance): utterance -1 for a dialogue, None for a split.

        Raises:
            ValueError: the entry names none of them.
        """
        match = _SUBJECT.fullmatch(self.utterance)
        if match is None:
            raise ValueError(f"{self.utterance!r} names no utterance, no dialogue and no split")
        split, dialogue, utterance = match.groups()
        return split, None if dialogue is None else (int(dialogue), int(utterance or -1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Intake:
    """A catalogue of utterances, and everything that was noticed on the way to it."""

    utterances: tuple[Utterance, ...]
    findings: tuple[Finding, ...]
    splits: Mapping[str, SplitCounts]
    """Split → counts, in the order train, dev, test, others."""
    durations: tuple[tuple[str, float, float], ...]
    """Utterance id, seconds by its row, seconds by its clip's header, for every clip that can be
    opened; NaN where either does not say."""
    files: tuple[Path, ...] = ()
    """The annotation files that were read."""
    fixes: tuple[Fix, ...] = ()
    """Entries of the fix list that were seen; empty where it was switched off."""
    fixes_version: int = 0
    """Version of the fix list; 0 where it was switched off."""
