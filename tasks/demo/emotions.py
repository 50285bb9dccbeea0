"""What each emotion does to a face and to a voice, as two tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

import numpy as np
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


# fmt: off
LOOKS = {
    #                brow slant eyes smile open wide flush sick drop tilt red green blue contrast
    "neutral":  Look(   0,   0, .75, .05,   0,  .75,  0,   0,   0,   0,    1,   1,   1,    1),
    "surprise": Look( .17,   0, 1.3, -.1, .85,   .5,  0,   0, -.07,  0, 1.05, 1.05, 1.2, 1.12),
    "fear":     Look( .11, .14, 1.2, -.5,  .3,  .95, -.7,  0, .02,   0,  .56, .65, .83,  1.3),
    "sadness":  Look( .03,  .2,  .5, -.8,   0,  .66, -.2,  0, .14, .13,  .62, .69, .84,  .74),
    "joy":      Look( .06,   0,  .6,   1, .42, 1.15,  .5,  0, -.03, -.08, 1.2, 1.15, .96, 1.05),
    "disgust":  Look(-.05,-.08, .35, -.6, .16,   .8,  0, .85, -.04, .16,  .85,  1,  .74,   1),
    "anger":    Look( -.1,-.22,  .7, -.5,  .3,    1,  .9,  0, .06,   0, 1.12,  .8,  .74, 1.28),
}

STYLES = {
    #               pitch accent contour gain rate breath jitter tremor bright stress
    "neutral":  Style(  0, 1.3,  -2,    0,  4.6,  .08,  .006,   0,   .30,  .30),
    "surprise": Style(  6,   4,   7,  3.5,  4.9,  .14,  .008,   0,   .45,  .50),
    "fear":     Style(4.5, 1.2,   1, -2.5,  5.9,  .45,  .030, 1.3,   .55,  .15),
    "sadness":  Style(-2.5, .6,  -3,   -7,  3.4,  .32,  .012,  .4,   .02,  .10),
    "joy":      Style(3.5, 3.2,   1,  4.5,  5.2,  .08,  .006,  .2,   .50,  .55),
    "disgust":  Style(-3.5, 2.2, -6,   .5,  3.6,  .16,  .050,   0,   .15,  .60),
    "anger":    Style(1.5, 2.2,  -4,    8,  5.3,  .03,  .022,   0,   .80,  .70),
}
# fmt: on

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
