"""The people of the demo: invented names, faces and voices."""

from __future__ import annotations

from dataclasses import dataclass

Colour = tuple[int, int, int]
"""Red, green, blue in 0..255."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speaker:
    """One member of the cast: how the annotation calls, the frame shows and the clip sounds."""

    name: str
    pitch: float
    """Mean fundamental frequency at rest, Hz."""
    tract: float
    """Factor on the formant frequencies: above one for a short vocal tract."""
    skin: Colour
    hair: Colour
    style: str
    """Hair: ``short``, ``long``, ``bun``, ``curly`` or ``bald``."""
    shirt: Colour
    iris: Colour
    width: float = 0.76
    """Half-width of the head; its half-height is one."""
    glasses: bool = False
    beard: bool = False


_LIGHT, _ROSY, _TAN, _BROWN, _DARK = (
    (244, 212, 184),
    (240, 196, 168),
    (222, 174, 132),
    (172, 118, 80),
    (122, 80, 56),
)
_BLACK, _CHESTNUT, _BLOND, _GINGER, _GREY = (
    (42, 34, 36),
    (92, 56, 34),
    (222, 184, 108),
    (190, 92, 44),
    (168, 168, 172),
)
_BLUE, _GREEN, _HAZEL, _NIGHT = (70, 120, 170), (80, 130, 84), (120, 84, 44), (62, 42, 32)


def _speaker(
    name: str,
    voice: tuple[float, float],
    colours: tuple[Colour, Colour, Colour, Colour],
    style: str,
    width: float,
    *,
    glasses: bool = False,
    beard: bool = False,
) -> Speaker:
    """A row of the table below: voice is (pitch, tract), colours skin, hair, shirt, iris."""
    skin, hair, shirt, iris = colours
    return Speaker(
        name=name,
        pitch=voice[0],
        tract=voice[1],
        skin=skin,
        hair=hair,
        shirt=shirt,
        iris=iris,
        style=style,
        width=width,
        glasses=glasses,
        beard=beard,
    )


LEADS: tuple[Speaker, ...] = (
    _speaker("Mira", (205, 1.15), (_TAN, _BLACK, (176, 60, 84), _NIGHT), "long", 0.72),
    _speaker("Theo", (118, 1.00), (_LIGHT, _CHESTNUT, (62, 92, 140), _BLUE), "short", 0.76),
    _speaker(
        "Ottilie", (222, 1.18), (_ROSY, _BLOND, (84, 140, 120), _GREEN), "bun", 0.74, glasses=True
    ),
    _speaker(
        "Jonas", (104, 0.96), (_BROWN, _BLACK, (196, 150, 60), _HAZEL), "short", 0.80, beard=True
    ),
    _speaker("Amara", (190, 1.12), (_DARK, _BLACK, (150, 96, 160), _NIGHT), "curly", 0.75),
    _speaker("Ben", (132, 1.03), (_ROSY, _GINGER, (90, 110, 80), _GREEN), "curly", 0.78),
)
"""Those who are in most dialogues."""

GUESTS: tuple[Speaker, ...] = (
    _speaker("Nurse #1", (198, 1.14), (_BROWN, _CHESTNUT, (150, 200, 210), _HAZEL), "bun", 0.73),
    _speaker("Waitress/Ann", (214, 1.16), (_LIGHT, _GINGER, (210, 120, 110), _BLUE), "long", 0.74),
    _speaker("Ben\u2019s Date", (208, 1.17), (_TAN, _BLOND, (60, 60, 70), _HAZEL), "long", 0.71),
    _speaker(
        "The Landlord", (96, 0.93), (_ROSY, _GREY, (120, 100, 84), _BLUE), "bald", 0.82, beard=True
    ),
    _speaker(
        "Mr. Okafor", (110, 0.97), (_DARK, _GREY, (70, 80, 96), _NIGHT), "bald", 0.78, glasses=True
    ),
    _speaker("Mrs. Lund", (186, 1.10), (_LIGHT, _GREY, (140, 120, 170), _BLUE), "curly", 0.76),
)
"""Those who drop in, with the odd spellings that annotations have."""

CAST: dict[str, Speaker] = {speaker.name: speaker for speaker in (*LEADS, *GUESTS)}
"""Everybody by name."""
