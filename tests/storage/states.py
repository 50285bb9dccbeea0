"""The states that a store goes through in the crash test: pure functions of seed and number.

State 0 is the first pass over a small corpus. Every later one changes clips, texts, labels,
who is there and, now and then, the version of an extractor.
"""

from __future__ import annotations

import functools
import random
from dataclasses import dataclass, replace

from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.utterances import Utterance
from tests.storage.corpus import utterance, voice_spec, words_spec

PARTITION = 4
FIRST_PASS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an utterance is made of at a time; the features are functions of it."""

    number: int
    take: int = 0
    words: int = 0
    emotion: str = "neutral"
    silent: bool = False
    """Whether its clip has nothing to hear, so that the row fails."""
    present: bool = True
    """Whether it is in the data set."""

    def utterance(self) -> Utterance:
        """The utterance; a silent clip has bytes of its own, as its checksum has to tell."""
        take, words = f"{self.take}", f"words {self.number}.{self.words}"
        if self.silent:
            take, words = f"{take} silent", f"{words} silent"
        return utterance(self.number, take=take, text=words, emotion=self.emotion)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A data set, and the extractors whose features are wanted of it."""

    number: int
    contents: tuple[Content, ...]
    voice_version: int = 1
    words_version: int = 1

    @property
    def utterances(self) -> tuple[Utterance, ...]:
        """Those in the data set."""
        return tuple(one.utterance() for one in self.contents if one.present)

    @property
    def specs(self) -> tuple[FeatureSpec, ...]:
        """The extractors."""
        return voice_spec(self.voice_version), words_spec(self.words_version)


@functools.lru_cache(maxsize=64)
def state(seed: int, number: int) -> State:
    """State ``number`` of the sequence that ``seed`` names."""
    if number == 0:
        return State(number=0, contents=tuple(Content(number=i) for i in range(FIRST_PASS)))
    before = state(seed, number - 1)
    chance = random.Random(f"{seed} {number}")
    grown = len(before.contents) + chance.randint(1, PARTITION)
    new = (Content(number=i) for i in range(len(before.contents), grown))
    return State(
        number=number,
        contents=(*(_changed(one, chance) for one in before.contents), *new),
        voice_version=before.voice_version + (chance.random() < 0.3),
        words_version=before.words_version + (chance.random() < 0.3),
    )


def _changed(one: Content, chance: random.Random) -> Content:
    """One change in three utterances out of four; the first is never removed."""
    changes = (
        replace(one, take=one.take + 1, silent=False),
        replace(one, words=one.words + 1),
        replace(one, emotion="joy" if one.emotion == "neutral" else "neutral"),
        replace(one, take=one.take + 1, silent=True),
        replace(one, present=one.number == 0 or not one.present),
        one,
        one,
        one,
    )
    return chance.choice(changes)
