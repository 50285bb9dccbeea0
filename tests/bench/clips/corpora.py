"""Tables of one's own for a bench to extract: of texts alone, or of clips that come again."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from meldflow.models.schema.utterances import EMOTIONS, SPLITS
from tests.bench.clips.material import Material

MELD = 13_708
"""Utterances of MELD."""

PARTITION = 64
"""Utterances per partition, as by default."""

COLUMNS = ("split", "dialogue_id", "utterance_id", "text", "speaker", "emotion", "clip")


def write_texts(table: Path, utterances: int) -> None:
    """A table of one's own with as many texts, and no clips."""
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number in range(utterances):
            split, emotion = SPLITS[number % len(SPLITS)], EMOTIONS[number % len(EMOTIONS)]
            dialogue, utterance = divmod(number // len(SPLITS), 10)
            text = f"So this is what they said in line {number}."
            writer.writerow((split, dialogue, utterance, text, "Ann", emotion, ""))


def write_listed(table: Path, several: Sequence[Material], utterances: int) -> None:
    """A table of one's own with as many utterances, which take turns with the clips.

    Every utterance has a file of its own beside the table, a link to the clip, so that each is
    looked at, probed and hashed as an own clip is.
    """
    folder = table.with_suffix("")
    folder.mkdir()
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for number, one in enumerate(islice(cycle(several), utterances)):
            link = folder / f"utt{number}{one.clip.suffix}"
            link.symlink_to(one.clip.resolve())
            emotion = EMOTIONS[number % len(EMOTIONS)]
            where = (SPLITS[0], *divmod(number, 10))
            writer.writerow((*where, one.text, "Ann", emotion, link.relative_to(table.parent)))
