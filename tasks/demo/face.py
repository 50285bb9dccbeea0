"""Filmed faces: a drawn head that moves and speaks, the light of the mood, the grain."""

from collections.abc import Iterator, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from meldflow.tasks.demo.material import CAST, LOOKS, Colour, Look, Speaker, blend

Canvas = NDArray[np.uint8]
"""RGB picture, shape (height, width, 3)."""
Floats = NDArray[np.float64]

WIDTH, HEIGHT = 320, 240
WANDER = 0.09
"""How far people differ in every trait, as a share of its range over the emotions."""
_SHIFT = 4  # bits of a pixel's fraction: OpenCV draws between the pixels
_ACROSS = np.linspace(-1, 1, 17)  # places across a mouth or an eye
_ARCH = np.sqrt(1 - _ACROSS**2)
_TURN = np.linspace(0, 2 * np.pi, 36, endpoint=False)
_WHITE, _INK, _THROAT, _LIPS = (250, 248, 244), (36, 28, 30), (92, 26, 34), (190, 92, 92)
_ROOMS: tuple[tuple[Colour, Colour], ...] = (
    ((168, 150, 190), (110, 78, 60)),
    ((196, 176, 140), (124, 92, 64)),
    ((140, 170, 160), (96, 96, 92)),
)
"""Wall and floor of each room."""


def film(
    speaker: Speaker,
    moods: Mapping[str, float],
    talk: Floats,
    rate: float,
    generators: tuple[np.random.Generator, np.random.Generator],
) -> Iterator[Canvas]:
    """The pictures of a clip, each of shape (HEIGHT, WIDTH, 3).

    Args:
        speaker: who is seen.
        moods: strength of each emotion in the face at the apex, 0..1.
        talk: how far the voice opens the mouth, 0..1, shape (n_frames,).
        rate: frames per second.
        generators: the first draws what stays over a dialogue, the other all the rest.
    """
    scene, rng = generators
    wall, floor = _ROOMS[scene.integers(len(_ROOMS))]
    room = np.full((HEIGHT, WIDTH, 3), wall, np.uint8)
    room[int(HEIGHT * scene.uniform(0.62, 0.8)) :] = floor
    grain = rng.normal(0, rng.uniform(1, 4), (HEIGHT + 32, WIDTH + 32, 3))
    spread = np.ptp(np.array(list(LOOKS.values())), axis=0)
    own = rng.normal(0, WANDER, len(spread)) * spread
    onset, sway, blinks = rng.uniform(0.08, 0.3), rng.uniform(0.3, 0.9), rng.uniform(0.5, 3.0)
    rise = 0.25 + 0.75 * np.clip(np.linspace(0, 1, len(talk)) / onset, 0, 1) ** 1.5
    seat = WIDTH / 2 + 22 * np.sin(2.4 * list(CAST).index(speaker.name)) + rng.normal(0, 8)
    size = 74 * float(np.clip(rng.normal(1, 0.07), 0.85, 1.15))
    for place, (opening, strength) in enumerate(zip(talk.tolist(), rise.tolist(), strict=True)):
        seconds = place / rate
        look = blend(LOOKS, {name: full * strength for name, full in moods.items()}, own)
        speaking = max(look.open, 0.0) * (0.55 + 0.45 * opening) + 0.4 * opening
        shut = (seconds + blinks) % 3.0 < 0.12
        look = look._replace(open=speaking, eyes=0.0 if shut else look.eyes)
        swing = float(np.sin(2 * np.pi * sway * seconds))
        centre = np.array(
            [seat + 0.05 * size * swing, HEIGHT / 2 + size * (look.drop - 0.04 * opening)]
        )
        canvas = room.copy()
        draw_person(canvas, centre, size, speaker, look)
        y, x = rng.integers(0, 32, 2)
        lit = canvas * (look.red, look.green, look.blue) + grain[y : y + HEIGHT, x : x + WIDTH]
        yield np.clip(lit, 0, 255).astype(np.uint8)


def draw_person(canvas: Canvas, centre: Floats, size: float, speaker: Speaker, look: Look) -> None:
    """Paint a speaker who looks at the camera.

    Args:
        canvas: what is painted on.
        centre: of the head, pixels, shape (2,): x, y.
        size: half-height of the head, pixels; the unit of all lengths below.
        speaker: who it is.
        look: what the face shows.
    """

    def fill(xs: Floats, ys: Floats, colour: Colour) -> None:
        """The inside of an outline."""
        points = (centre + size * np.stack([xs, ys], axis=1)) * (1 << _SHIFT)
        cv2.fillPoly(canvas, [np.round(points).astype(np.int32)], colour, cv2.LINE_AA, _SHIFT)

    def between(xs: Floats, top: Floats, bottom: Floats, colour: Colour) -> None:
        """What lies between two curves over the same places."""
        around = np.concatenate([top, np.maximum(bottom, top)[::-1]])
        fill(np.concatenate([xs, xs[::-1]]), around, colour)

    def ellipse(x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        fill(x + rx * np.cos(_TURN), y + ry * np.sin(_TURN), colour)

    if speaker.long_hair:
        ellipse(0, 0.25, 1.05, 1.3, _darker(speaker.hair))
    ellipse(0, 2.25, 1.65, 1.12, speaker.shirt)
    ellipse(0, 1.1, 0.36, 0.45, _darker(speaker.skin))
    ellipse(0, 0, 0.76, 1, speaker.skin)
    opening = float(np.clip(look.eyes, 0, 1.25))
    for side in (-1, 1):
        x, xs = 0.34 * side, 0.34 * side + 0.2 * _ACROSS
        between(xs, -0.1 - 0.21 * opening * _ARCH, -0.1 + 0.21 * opening * _ARCH, _WHITE)
        ellipse(x, -0.1, 0.1, min(0.1, 0.2 * opening), _INK)
        brow = -0.5 - look.brow + 0.5 * look.slant * side * _ACROSS - 0.05 * _ARCH
        between(xs, brow, brow + 0.09, _darker(speaker.hair))
    xs, bow = 0.4 * float(np.clip(look.wide, 0.3, 1.3)) * _ACROSS, _ARCH**2
    corner, middle = 0.54 - 0.13 * look.smile, 0.22 * look.smile
    upper = corner + (middle - 0.07 * look.open) * bow
    lower = corner + (middle + 0.3 * look.open) * bow
    between(xs, upper - 0.04, lower + 0.04, _LIPS)
    between(xs, upper, lower, _THROAT)
    between(0.8 * _ACROSS, -1.07 * _ARCH - 0.05, -0.64 + 0.42 * np.abs(_ACROSS) ** 3, speaker.hair)


def _darker(colour: Colour) -> Colour:
    red, green, blue = (round(0.7 * part) for part in colour)
    return red, green, blue
