"""The words of an utterance: a line of its emotion, or one that gives nothing away."""

from __future__ import annotations

import re

import numpy as np

from meldflow.tasks.demo.lines import FILLERS, SLOTS, TEMPLATES

OPENERS: tuple[str, ...] = ("Oh, ", "Well, ", "Look, ", "Listen, ", "Okay, ", "- ")
AMBIGUOUS = 0.18
"""Share of lines that are fillers."""
BORROWED = 0.12
"""Share of emotional lines with neutral words."""
OVERSTATED = 0.05
"""Share of neutral lines with emotional words (irony, quotation)."""
OPENED = 0.18
"""Share of lines that begin with one of OPENERS."""

_VOWELS = re.compile(r"[aeiouy]+")


def write_line(emotion: str, rng: np.random.Generator) -> str:
    """Words for an utterance of ``emotion``, with MELD's typographic apostrophes (U+2019)."""
    draw = rng.random()
    if draw < AMBIGUOUS:
        source = FILLERS
    elif emotion != "neutral" and draw < AMBIGUOUS + BORROWED:
        source = TEMPLATES["neutral"]
    elif emotion == "neutral" and draw < AMBIGUOUS + OVERSTATED:
        others = [name for name in TEMPLATES if name != "neutral"]
        source = TEMPLATES[others[rng.integers(len(others))]]
    else:
        source = TEMPLATES[emotion]
    template = source[rng.integers(len(source))]
    chosen = {slot: values[rng.integers(len(values))] for slot, values in SLOTS.items()}
    text = template.format(**chosen)
    text = text[0].upper() + text[1:]
    if rng.random() < OPENED:
        text = _opened(text, OPENERS[rng.integers(len(OPENERS))])
    return text.replace("'", "\u2019")


def count_syllables(text: str) -> int:
    """Groups of vowels in the words, silent final "e" left out; at least one per word."""
    words = re.findall(r"[a-z\u2019]+", text.lower())
    return max(1, sum(max(1, len(_VOWELS.findall(re.sub(r"e$", "", word)))) for word in words))


def _opened(text: str, opener: str) -> str:
    """The line behind an opener; its first word loses the capital unless that belongs to it."""
    if opener == "- " or text.startswith(("I ", "I'", "God", "Monday")):
        return opener + text
    return opener + text[0].lower() + text[1:]
