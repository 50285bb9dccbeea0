"""The script of a data set to measure with: as many clips as asked for, as long as MELD's are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import SPLITS
from meldflow.tasks.demo.script import FILM, Line, Purpose, draw_moods, generator, write_dialogue
from meldflow.tasks.demo.voice import STYLES
from meldflow.tasks.demo.words import count_syllables, write_line

SPLIT = "dev"
"""The split that all clips are in, since their lengths are those of its clips."""

DEV_SECONDS: dict[float, float] = {
    0.0: 0.084,
    0.05: 0.68,
    0.1: 1.0,
    0.25: 1.56,
    0.5: 2.45,
    0.75: 3.92,
    0.9: 5.97,
    0.95: 7.6,
    0.99: 11.9,
    1.0: 28.5,
}
"""Quantile → length of the utterances of MELD's dev split, seconds: ``EndTime`` minus ``StartTime``
in ``dev_sent_emo.csv``, 1,109 rows with a mean of 3.1."""


def durations(clips: int) -> NDArray[np.float64]:
    """Lengths of ``clips`` clips as MELD's dev split has them, shortest first, seconds."""
    places = (np.arange(clips) + 0.5) / clips
    return np.interp(places, list(DEV_SECONDS), list(DEV_SECONDS.values()))


def write_broadcast(clips: int, seed: int) -> dict[str, list[Line]]:
    """Every utterance, per split: all of them film in stereo, with as many words as fit.

    Raises:
        UsageError: no clips, or a negative seed.
    """
    if clips < 1:
        raise UsageError(f"a bench needs at least one clip: got {clips}")
    if seed < 0:
        raise UsageError(f"the seed must not be negative: got {seed}")
    lengths = durations(clips)
    np.random.default_rng(seed).shuffle(lengths)
    lines, clock = [], 0.0
    for line, seconds in zip(_lines(seed), lengths.tolist(), strict=False):
        rng = generator(seed, Purpose.WORDS, SPLIT, line.dialogue, line.utterance + 1)
        clock = line.start if line.utterance == 0 else clock
        timed = _lasting(replace(line, start=clock), seconds, rng)
        lines.append(timed)
        clock = round(clock + timed.seconds, 3)
    return {split: lines if split == SPLIT else [] for split in SPLITS}


def _lines(seed: int) -> Iterator[Line]:
    """Utterances of one dialogue after the other, without end."""
    dialogue = 0
    while True:
        moods = draw_moods(generator(seed, Purpose.MOODS, SPLIT, dialogue))
        words = generator(seed, Purpose.WORDS, SPLIT, dialogue)
        yield from write_dialogue(SPLIT, dialogue, moods, words)
        dialogue += 1


def _lasting(line: Line, seconds: float, rng: np.random.Generator) -> Line:
    """The line in a clip of ``seconds``; sentences are added for as long as there is time."""
    rate, text = STYLES[line.emotion].syllable_rate, line.text
    while count_syllables(longer := f"{text} {write_line(line.emotion, rng)}") / rate < seconds:
        text = longer
    frames = max(2, round(seconds * FILM))
    return replace(line, text=text, frames=frames, rate=FILM, surround=False)
