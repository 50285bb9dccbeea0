"""What a classifier tells apart: emotions, or sentiments."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meldflow.models.schema.utterances import EMOTIONS, SENTIMENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A column of the annotations, and the labels that it may hold."""

    name: str
    """Name of the column, as people say it."""
    classes: tuple[str, ...]
    """Its labels, in the order of MELD's published label ids."""

    @property
    def one(self) -> str:
        """The name with its article, as in ``an emotion``."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"


EMOTION = Target(name="emotion", classes=EMOTIONS)
SENTIMENT = Target(name="sentiment", classes=SENTIMENTS)

TARGETS: Mapping[str, Target] = {one.name: one for one in (EMOTION, SENTIMENT)}
"""Name → target."""
