"""What the demo is made of: its people, what emotions do to a face and a voice, and the lines."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import yaml
from numpy.typing import ArrayLike

Colour = tuple[int, int, int]
"""Red, green, blue in 0..255."""


class Speaker(NamedTuple):
    """One member of the cast: how the annotation calls, the frame shows and the clip sounds."""

    name: str
    pitch: float  # mean fundamental frequency at rest, Hz
    tract: float  # factor on the formant frequencies: above one for a short vocal tract
    skin: Colour
    hair: Colour
    shirt: Colour
    long_hair: bool = False


class Look(NamedTuple):
    """A face at full strength of an emotion, and its light; lengths in half-heights of the head."""

    brow: float  # height of the brows over their place at rest
    slant: float  # of the brows: positive is worried, negative is cross
    eyes: float  # how far the eyes are open: 0 is shut, 1 round
    smile: float  # height of the mouth's corners over its middle
    open: float  # of the mouth
    wide: float  # width of the mouth
    drop: float  # how far the head hangs, or is thrown back where negative
    red: float  # gain of the light, like the next two
    green: float
    blue: float


class Style(NamedTuple):
    """A voice at full strength of an emotion."""

    pitch: float  # mean, against the speaker's own, semitones
    accent: float  # standard deviation of the syllables' pitch, semitones
    contour: float  # change of pitch from the first to the last syllable, semitones
    gain: float  # level against a neutral voice, dB
    rate: float  # syllables per second
    breath: float  # share of aspiration noise, 0..1
    bright: float  # pre-emphasis that lifts the high frequencies, 0..0.95
    stress: float  # contrast between loud and soft syllables, 0..1


_MATERIAL = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
LEADS = tuple(Speaker(**one) for one in _MATERIAL["leads"])
"""Those who are in most dialogues."""
GUESTS = tuple(Speaker(**one) for one in _MATERIAL["guests"])
"""Those who drop in."""
CAST = {speaker.name: speaker for speaker in (*LEADS, *GUESTS)}
"""Everybody by name."""
LOOKS = {emotion: Look(*row) for emotion, row in _MATERIAL["looks"].items()}
STYLES = {emotion: Style(*row) for emotion, row in _MATERIAL["styles"].items()}
SLOTS: dict[str, list[str]] = _MATERIAL["slots"]
"""What may stand in a template's braces."""
TEMPLATES: dict[str, list[str]] = _MATERIAL["templates"]
"""Lines that fit one emotion."""
FILLERS: list[str] = _MATERIAL["fillers"]
"""Lines that fit any emotion: the words alone do not tell."""
AMBIGUOUS, BORROWED, DASHED = 0.18, 0.12, 0.04
"""Shares: of fillers, of emotional lines with neutral words, of lines that begin with a dash."""

Row = TypeVar("Row", Look, Style)


def blend(table: Mapping[str, Row], weights: Mapping[str, float], offset: ArrayLike = 0.0) -> Row:
    """The row for some strength, 0..1, of each emotion named, around the neutral one.

    ``offset`` is added to its numbers.
    """
    rest = np.array(table["neutral"])
    value = rest + np.asarray(offset)
    for emotion, strength in weights.items():
        value = value + strength * (np.array(table[emotion]) - rest)
    return type(table["neutral"])(*value.tolist())


def write_line(emotion: str, rng: np.random.Generator) -> str:
    """Words for an utterance of ``emotion``, with MELD's typographic apostrophes (U+2019)."""
    draw = rng.random()
    borrowed = draw < AMBIGUOUS + BORROWED
    source = FILLERS if draw < AMBIGUOUS else TEMPLATES["neutral" if borrowed else emotion]
    chosen = {slot: values[rng.integers(len(values))] for slot, values in SLOTS.items()}
    text = source[rng.integers(len(source))].format(**chosen)
    dash = "- " if rng.random() < DASHED else ""
    return (dash + text[0].upper() + text[1:]).replace("'", "\u2019")


def count_syllables(text: str) -> int:
    """Groups of vowels in the words, silent final "e" left out; at least one per word."""
    words = re.findall(r"[a-z\u2019]+", text.lower())
    return max(
        1, sum(max(1, len(re.findall(r"[aeiouy]+", word.removesuffix("e")))) for word in words)
    )
