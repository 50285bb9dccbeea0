"""What each emotion does to a face and to a voice, as two tables."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import yaml
from numpy.typing import ArrayLike


class Look(NamedTuple):
    """A face at full strength of an emotion, and its light; lengths in half-heights of the head."""

    brow: float  # height of the brows over their place at rest
    slant: float  # of the brows: positive is worried, negative is cross
    eyes: float  # how far the eyes are open: 0 is shut, 1 round
    smile: float  # height of the mouth's corners over its middle
    open: float  # of the mouth
    wide: float  # width of the mouth
    flush: float  # red in the skin, -1..1; negative is pale
    sick: float  # green in the skin, 0..1
    drop: float  # how far the head hangs, or is thrown back where negative
    tilt: float  # roll of the head, radians
    red: float  # gain of the light, like the next two
    green: float
    blue: float
    contrast: float


class Style(NamedTuple):
    """A voice at full strength of an emotion."""

    pitch: float  # mean, against the speaker's own, semitones
    accent: float  # standard deviation of the syllables' pitch, semitones
    contour: float  # change of pitch from the first to the last syllable, semitones
    gain: float  # level against a neutral voice, dB
    rate: float  # syllables per second
    breath: float  # share of aspiration noise, 0..1
    jitter: float  # irregularity of the pulses, relative standard deviation of the period
    tremor: float  # depth of a 7 Hz tremble of the pitch, semitones
    bright: float  # pre-emphasis that lifts the high frequencies, 0..0.95
    stress: float  # contrast between loud and soft syllables, 0..1


_TABLES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
LOOKS = {emotion: Look(*row) for emotion, row in _TABLES["looks"].items()}
STYLES = {emotion: Style(*row) for emotion, row in _TABLES["styles"].items()}

Row = TypeVar("Row", Look, Style)


def blend(table: Mapping[str, Row], weights: Mapping[str, float], offset: ArrayLike = 0.0) -> Row:
    """The row for some strength, 0..1, of each emotion named, around the neutral one.

    Args:
        table: LOOKS or STYLES.
        weights: emotion → strength.
        offset: is added to the row's numbers.
    """
    rest = np.array(table["neutral"])
    value = rest + np.asarray(offset)
    for emotion, strength in weights.items():
        value = value + strength * (np.array(table[emotion]) - rest)
    return type(table["neutral"])(*value.tolist())
