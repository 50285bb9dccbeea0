"""The people of the demo: invented names, faces and voices."""

from __future__ import annotations

from typing import NamedTuple

Colour = tuple[int, int, int]
"""Red, green, blue in 0..255."""

_LIGHT, _ROSY, _TAN = (244, 212, 184), (240, 196, 168), (222, 174, 132)
_BROWN, _DARK = (172, 118, 80), (122, 80, 56)
_BLACK, _CHESTNUT, _BLOND = (42, 34, 36), (92, 56, 34), (222, 184, 108)
_GINGER, _GREY = (190, 92, 44), (168, 168, 172)


class Speaker(NamedTuple):
    """One member of the cast: how the annotation calls, the frame shows and the clip sounds."""

    name: str
    pitch: float  # mean fundamental frequency at rest, Hz
    tract: float  # factor on the formant frequencies: above one for a short vocal tract
    skin: Colour
    hair: Colour
    shirt: Colour
    long_hair: bool = False


LEADS = (
    Speaker("Mira", 205, 1.15, _TAN, _BLACK, (176, 60, 84), long_hair=True),
    Speaker("Theo", 118, 1.00, _LIGHT, _CHESTNUT, (62, 92, 140)),
    Speaker("Ottilie", 222, 1.18, _ROSY, _BLOND, (84, 140, 120), long_hair=True),
    Speaker("Jonas", 104, 0.96, _BROWN, _BLACK, (196, 150, 60)),
    Speaker("Amara", 190, 1.12, _DARK, _BLACK, (150, 96, 160), long_hair=True),
    Speaker("Ben", 132, 1.03, _ROSY, _GINGER, (90, 110, 80)),
)
"""Those who are in most dialogues."""

GUESTS = (
    Speaker("Nurse #1", 198, 1.14, _BROWN, _CHESTNUT, (150, 200, 210)),
    Speaker("Waitress/Ann", 214, 1.16, _LIGHT, _GINGER, (210, 120, 110), long_hair=True),
    Speaker("Ben\u2019s Date", 208, 1.17, _TAN, _BLOND, (60, 60, 70), long_hair=True),
    Speaker("The Landlord", 96, 0.93, _ROSY, _GREY, (120, 100, 84)),
    Speaker("Mr. Okafor", 110, 0.97, _DARK, _GREY, (70, 80, 96)),
    Speaker("Mrs. Lund", 186, 1.10, _LIGHT, _GREY, (140, 120, 170)),
)
"""Those who drop in, with the odd spellings that annotations have."""

CAST = {speaker.name: speaker for speaker in (*LEADS, *GUESTS)}
"""Everybody by name."""
