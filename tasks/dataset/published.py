"""What MELD is published to hold, counted from its annotation files of November 2020."""

from __future__ import annotations

from meldflow.models.schema.utterances import EMOTIONS
from meldflow.tasks.dataset.records import SplitCounts


def _split(rows: int, dialogues: int, *emotions: int) -> SplitCounts:
    counts = dict(zip(EMOTIONS, emotions, strict=True))
    return SplitCounts(rows=rows, dialogues=dialogues, emotions=counts)


PUBLISHED = {
    # rows, dialogues, then neutral, surprise, fear, sadness, joy, disgust, anger.
    # MELD's page says 1,039 dialogues for train: its ids reach 1038, but 60 is left out.
    "train": _split(9989, 1038, 4710, 1205, 268, 683, 1743, 271, 1109),
    "dev": _split(1109, 114, 470, 150, 40, 111, 163, 22, 153),
    "test": _split(2610, 280, 1256, 281, 50, 208, 402, 68, 345),
}
"""Split → counts; https://github.com/declare-lab/MELD."""
