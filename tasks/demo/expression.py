"""What each emotion does to a face, the light on it and the way it moves."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class Expression:
    """A face at full strength of an emotion; lengths in half-heights of the head."""

    brow_raise: float = 0.0
    brow_slant: float = 0.0
    """Height of the inner over the outer end: positive is worried, negative is cross."""
    eye_open: float = 0.75
    lid_slant: float = 0.0
    """Droop of the upper lid: positive towards the outer corner, negative towards the nose."""
    squint: float = 0.0
    """How far the lower lid comes up, 0..1."""
    pupil: float = 1.0
    mouth_curve: float = 0.05
    """Height of the corners over the middle: positive is a smile."""
    mouth_open: float = 0.0
    mouth_width: float = 0.75
    sneer: float = 0.0
    """One side of the upper lip drawn up, and wrinkles beside the nose."""
    flush: float = 0.0
    """Red cheeks, 0..1."""
    sick: float = 0.0
    """Green in the skin, 0..1."""
    pale: float = 0.0
    """Colour gone from the skin, 0..1."""
    tears: float = 0.0
    sweat: float = 0.0
    drop: float = 0.0
    """How far the head hangs (positive) or is thrown back (negative)."""
    tilt: float = 0.0
    """Roll of the head, radians."""
    lean: float = 0.0
    """Growth of the head in the picture: towards the camera is positive."""
    sway: float = 0.03
    """Slow movement."""
    tremble: float = 0.0
    """Fast movement."""
    bounce: float = 0.02
    """Nodding along with the voice."""
    recoil: float = 0.0
    """A start at the onset."""
    red: float = 1.0
    """Gain of the light, like the next four."""
    green: float = 1.0
    blue: float = 1.0
    bright: float = 1.0
    contrast: float = 1.0
    vignette: float = 0.15
    """Darkness of the picture's corners, 0..1."""


EXPRESSIONS: dict[str, Expression] = {
    "neutral": Expression(),
    "surprise": Expression(
        brow_raise=0.17,
        eye_open=1.35,
        pupil=0.85,
        mouth_curve=-0.1,
        mouth_open=0.85,
        mouth_width=0.5,
        drop=-0.07,
        recoil=0.14,
        bright=1.2,
        contrast=1.12,
        blue=1.07,
    ),
    "fear": Expression(
        brow_raise=0.11,
        brow_slant=0.14,
        eye_open=1.3,
        pupil=0.6,
        mouth_curve=-0.45,
        mouth_open=0.3,
        mouth_width=0.95,
        pale=0.75,
        sweat=1.0,
        drop=0.02,
        lean=-0.12,
        tremble=0.022,
        red=0.78,
        green=0.9,
        blue=1.15,
        bright=0.72,
        contrast=1.3,
        vignette=0.65,
    ),
    "sadness": Expression(
        brow_raise=0.03,
        brow_slant=0.2,
        eye_open=0.5,
        lid_slant=0.35,
        mouth_curve=-0.75,
        mouth_width=0.66,
        tears=1.0,
        pale=0.25,
        drop=0.14,
        tilt=0.13,
        sway=0.015,
        bounce=0.008,
        red=0.84,
        green=0.93,
        blue=1.14,
        bright=0.74,
        contrast=0.74,
        vignette=0.35,
    ),
    "joy": Expression(
        brow_raise=0.06,
        eye_open=0.7,
        squint=0.6,
        mouth_curve=1.0,
        mouth_open=0.42,
        mouth_width=1.15,
        flush=0.55,
        tilt=-0.08,
        drop=-0.03,
        sway=0.06,
        bounce=0.06,
        red=1.1,
        green=1.04,
        blue=0.86,
        bright=1.14,
        contrast=1.05,
        vignette=0.05,
    ),
    "disgust": Expression(
        brow_raise=-0.05,
        brow_slant=-0.08,
        eye_open=0.45,
        squint=0.75,
        mouth_curve=-0.5,
        mouth_open=0.16,
        mouth_width=0.8,
        sneer=1.0,
        sick=0.85,
        tilt=0.16,
        lean=-0.08,
        drop=-0.04,
        red=0.92,
        green=1.1,
        blue=0.8,
        bright=0.92,
    ),
    "anger": Expression(
        brow_raise=-0.1,
        brow_slant=-0.22,
        eye_open=0.72,
        lid_slant=-0.35,
        squint=0.3,
        pupil=0.85,
        mouth_curve=-0.45,
        mouth_open=0.3,
        mouth_width=1.0,
        flush=1.0,
        drop=0.06,
        lean=0.16,
        bounce=0.07,
        tremble=0.005,
        red=1.2,
        green=0.86,
        blue=0.8,
        bright=0.93,
        contrast=1.28,
        vignette=0.4,
    ),
}
"""The table that the drawing turns into pictures."""

_NAMES = tuple(field.name for field in fields(Expression))
_TABLE = {name: np.array(astuple(row)) for name, row in EXPRESSIONS.items()}
WANDER = 0.09
"""How far people differ in every trait, as a share of its range over the emotions."""


Offset = NDArray[np.float64]
"""One number per field of Expression, in that order."""


def personal_offset(rng: np.random.Generator) -> Offset:
    """A deviation to be added to one clip's expressions: nobody pulls a face by the book."""
    spread = np.ptp(np.stack(list(_TABLE.values())), axis=0)
    spread[[_NAMES.index(name) for name in ("tears", "sweat", "sneer", "tremble", "recoil")]] = 0
    return np.asarray(rng.normal(0, WANDER, len(spread)) * spread)


def blend(weights: dict[str, float], offset: Offset) -> Expression:
    """The expression for some strength, 0..1, of each emotion named, around the neutral one."""
    value = _TABLE["neutral"] + offset
    for emotion, strength in weights.items():
        value = value + strength * (_TABLE[emotion] - _TABLE["neutral"])
    return Expression(**dict(zip(_NAMES, value.tolist(), strict=True)))
