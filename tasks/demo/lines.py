"""The words of an utterance: invented lines of its emotion, or ones that give nothing away."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import yaml

_LINES = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
SLOTS: dict[str, list[str]] = _LINES["slots"]
"""What may stand in a template's braces."""
TEMPLATES: dict[str, list[str]] = _LINES["templates"]
"""Lines that fit one emotion."""
FILLERS: list[str] = _LINES["fillers"]
"""Lines that fit any emotion: the words alone do not tell."""
AMBIGUOUS, BORROWED, DASHED = 0.18, 0.12, 0.04
"""Shares: of fillers, of emotional lines with neutral words, of lines that begin with a dash."""


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
