"""Filmed faces: a room, a drawn head that moves and speaks, the light of the mood, the grain."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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
TWOS = 2
"""Frames per drawing: cartoons are drawn "on twos"; the grain changes with every frame."""
_SHIFT = 4  # bits of a pixel's fraction: OpenCV draws between the pixels
_ACROSS = np.linspace(-1, 1, 17)  # places across a mouth or an eye
_ARCH, _FLAT = np.sqrt(1 - _ACROSS**2), np.ones(17)
_WHITE, _INK, _THROAT, _LIPS = (250, 248, 244), (36, 28, 30), (92, 26, 34), (190, 92, 92)
_RED, _GREEN, _PALE = (226, 66, 58), (126, 176, 70), (232, 234, 240)
_ROOMS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((168, 150, 190), (110, 78, 60), (90, 130, 140)),
    ((196, 176, 140), (124, 92, 64), (150, 80, 60)),
    ((140, 170, 160), (96, 96, 92), (200, 180, 110)),
)
"""Wall, floor and furniture of each room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Brush:
    """Paints a head where it is; unit of what it paints is the half-height of the head."""

    canvas: Canvas
    x: float  # centre of the head, pixels
    y: float
    scale: float  # half-height, pixels
    roll: float  # radians

    def fill(self, xs: Floats, ys: Floats, colour: Colour) -> None:
        """The inside of an outline."""
        cv2.fillPoly(self.canvas, [self._pixels(xs, ys)], colour, cv2.LINE_AA, _SHIFT)

    def line(self, xs: Floats, ys: Floats, colour: Colour, width: float) -> None:
        """An open line."""
        points, thick = [self._pixels(xs, ys)], max(1, round(width * self.scale))
        cv2.polylines(self.canvas, points, False, colour, thick, cv2.LINE_AA, _SHIFT)

    def between(self, xs: Floats, top: Floats, bottom: Floats, colour: Colour) -> None:
        """What lies between two curves over the same places."""
        around = np.concatenate([top, np.maximum(bottom, top)[::-1]])
        self.fill(np.concatenate([xs, xs[::-1]]), around, colour)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: Colour) -> None:
        """The inside of an ellipse."""
        turn = np.linspace(0, 2 * np.pi, 36, endpoint=False)
        self.fill(x + rx * np.cos(turn), y + ry * np.sin(turn), colour)

    def _pixels(self, xs: Floats, ys: Floats) -> NDArray[np.int32]:
        cos, sin = self.scale * np.cos(self.roll), self.scale * np.sin(self.roll)
        places = np.stack([self.x + xs * cos - ys * sin, self.y + xs * sin + ys * cos], axis=1)
        return np.asarray(np.round(places * (1 << _SHIFT)), dtype=np.int32)


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
    room, drawn = paint_room(scene), np.zeros(0, np.uint8)
    grain = rng.normal(0, rng.uniform(1, 4), (HEIGHT + 32, WIDTH + 32, 3)).astype(np.int16)
    spread = np.ptp(np.array(list(LOOKS.values())), axis=0)
    own = rng.normal(0, WANDER, len(spread)) * spread
    onset, sway, blinks = rng.uniform(0.08, 0.3), rng.uniform(0.3, 0.9), rng.uniform(0.5, 3.0)
    rise = 0.25 + 0.75 * np.clip(np.linspace(0, 1, len(talk)) / onset, 0, 1) ** 1.5
    seat = WIDTH / 2 + 22 * np.sin(2.4 * list(CAST).index(speaker.name)) + rng.normal(0, 8)
    size = 74 * float(np.clip(rng.normal(1, 0.07), 0.85, 1.15))
    for place, (opening, strength) in enumerate(zip(talk.tolist(), rise.tolist(), strict=True)):
        if place % TWOS == 0:
            seconds = place / rate
            look = blend(LOOKS, {name: full * strength for name, full in moods.items()}, own)
            speaking = max(look.open, 0.0) * (0.55 + 0.45 * opening) + 0.4 * opening
            shut = (seconds + blinks) % 3.0 < 0.12
            look = look._replace(open=speaking, eyes=0.0 if shut else look.eyes)
            swing = float(np.sin(2 * np.pi * sway * seconds))
            brush = Brush(
                canvas=room.copy(),
                x=float(seat + 0.05 * size * swing),
                y=HEIGHT / 2 + size * (look.drop - 0.04 * opening),
                scale=size,
                roll=look.tilt + 0.03 * swing,
            )
            draw_person(brush, speaker, look)
            drawn = _light(brush.canvas, look)
        y, x = rng.integers(0, 32, 2)
        noise = grain[y : y + HEIGHT, x : x + WIDTH]
        yield np.asarray(cv2.add(drawn, noise, dtype=cv2.CV_8U), dtype=np.uint8)


def paint_room(rng: np.random.Generator) -> Canvas:
    """A room out of focus, shape (HEIGHT, WIDTH, 3)."""
    wall, floor, accent = _ROOMS[rng.integers(len(_ROOMS))]
    room = np.full((HEIGHT, WIDTH, 3), wall, np.uint8)
    edge = int(HEIGHT * rng.uniform(0.62, 0.8))
    room[edge:] = floor
    for _ in range(int(rng.integers(2, 5))):
        x, y = int(rng.uniform(0, WIDTH)), int(rng.uniform(10, edge - 60))
        corner = (x + int(rng.uniform(30, 80)), y + int(rng.uniform(30, 90)))
        cv2.rectangle(room, (x, y), corner, _mixed(accent, _WHITE, float(rng.uniform(0, 0.8))), -1)
    return np.asarray(cv2.GaussianBlur(room, (0, 0), 4), dtype=np.uint8)


def draw_person(brush: Brush, speaker: Speaker, look: Look) -> None:
    """Paint a speaker who looks at the camera."""
    skin = _mixed(speaker.skin, _GREEN, 0.4 * look.sick)
    skin = _mixed(skin, _RED if look.flush > 0 else _PALE, 0.3 * abs(look.flush))
    if speaker.long_hair:
        brush.ellipse(0, 0.25, 1.05, 1.3, _mixed(speaker.hair, _INK, 0.25))
    brush.ellipse(0, 2.25, 1.65, 1.12, speaker.shirt)
    brush.ellipse(0, 1.1, 0.36, 0.45, _mixed(skin, _INK, 0.2))
    brush.ellipse(0, 0, 0.76, 1, skin)
    for side in (-1, 1):
        brush.ellipse(0.44 * side, 0.3, 0.19, 0.14, _mixed(skin, _RED, 0.08 + 0.5 * look.flush))
        _draw_eye(brush, speaker, look, side, skin)
    brush.line(0.09 * _ACROSS[8:], 0.25 - 0.25 * _ARCH[8:], _mixed(skin, _INK, 0.3), 0.04)
    _draw_mouth(brush, look)
    fringe = -0.64 + 0.42 * np.abs(_ACROSS) ** 3
    brush.between(0.8 * _ACROSS, -1.07 * _ARCH - 0.05, fringe, speaker.hair)


def _draw_eye(brush: Brush, speaker: Speaker, look: Look, side: int, skin: Colour) -> None:
    """One eye with its lids and brow; ``side`` is -1 on the left."""
    x, y, xs = 0.34 * side, -0.1, 0.34 * side + 0.2 * _ACROSS
    upper = y - 0.21 * float(np.clip(look.eyes, 0, 1.25)) * _ARCH
    lower = y + 0.17 * _ARCH * (look.eyes > 0)
    brush.between(xs, upper, lower, _WHITE)
    brush.ellipse(x, y, 0.1, 0.1, _INK)
    # The lids cover what of the iris is outside of the eye.
    brush.between(xs, (y - 0.26) * _FLAT, upper, skin)
    brush.between(xs, lower, (y + 0.18) * _FLAT, skin)
    brush.line(xs, upper, _INK, 0.045)
    brow = y - 0.36 - look.brow + 0.5 * look.slant * side * _ACROSS - 0.05 * _ARCH
    brush.line(xs, brow, _mixed(speaker.hair, _INK, 0.45), 0.09)


def _draw_mouth(brush: Brush, look: Look) -> None:
    xs, bow = 0.4 * float(np.clip(look.wide, 0.3, 1.3)) * _ACROSS, _ARCH**2
    corner, middle = 0.54 - 0.13 * look.smile, 0.22 * look.smile
    upper = corner + (middle - 0.07 * look.open) * bow
    lower = corner + (middle + 0.3 * look.open) * bow + 0.012
    brush.between(xs, upper, lower, _THROAT)
    brush.between(xs, upper, upper + np.minimum(0.1, 0.4 * (lower - upper)), _WHITE)
    for edge in (upper, lower):
        brush.line(xs, edge, _LIPS, 0.06)


def _mixed(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between two: ``one`` at share 0 or below, ``other`` at 1 or above."""
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _light(canvas: Canvas, look: Look) -> Canvas:
    """The canvas in the light of the mood, same shape."""
    levels = (np.arange(256) / 255 - 0.5) * look.contrast + 0.5
    table = 255 * levels[None, :, None] * np.array([look.red, look.green, look.blue])
    return np.asarray(cv2.LUT(canvas, np.clip(table, 0, 255).astype(np.uint8)), dtype=np.uint8)
