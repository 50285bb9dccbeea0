"""The people of the demo: invented names, faces and voices."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import yaml

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


_CAST = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
LEADS = tuple(Speaker(**one) for one in _CAST["leads"])
"""Those who are in most dialogues."""
GUESTS = tuple(Speaker(**one) for one in _CAST["guests"])
"""Those who drop in."""
CAST = {speaker.name: speaker for speaker in (*LEADS, *GUESTS)}
"""Everybody by name."""
