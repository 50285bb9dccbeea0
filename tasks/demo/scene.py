"""Filmed faces: a room behind, a head that moves, the light, the camera and its noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from meldflow.tasks.demo.cast import CAST, Colour, Speaker
from meldflow.tasks.demo.expression import Expression, blend, personal_offset
from meldflow.tasks.demo.face import draw_from_behind, draw_person
from meldflow.tasks.demo.paint import Canvas, Pose, curve, ellipse, fill, mixed, stroke

WIDTH, HEIGHT = 320, 240
_EDGE = 8
"""Room around the picture in which the camera shakes, pixels."""
TWOS = 2
"""Frames per drawing: cartoons are drawn "on twos"; camera and grain change with every frame."""
_BLINK = 0.16
"""Duration of a blink, seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Take:
    """What the camera is pointed at."""

    speaker: Speaker
    moods: dict[str, float]
    """Strength of each emotion in the face at the apex, 0..1."""
    behind: bool
    """Whether the speaker has turned away."""
    talk: NDArray[np.float64]
    """How far the voice opens the mouth, 0..1, shape (n_frames,)."""
    rate: float
    """Frames per second."""


def film(take: Take, set_rng: np.random.Generator, rng: np.random.Generator) -> Iterator[Canvas]:
    """The pictures of a clip, each of shape (HEIGHT, WIDTH, 3).

    ``set_rng`` draws what stays over a dialogue (room, seats), ``rng`` all the rest.
    """
    room = paint_room(set_rng)
    grain = rng.normal(0, rng.uniform(1, 4), (HEIGHT + 32, WIDTH + 32, 3)).astype(np.int16)
    lamp = rng.normal(1, (0.03, 0.03, 0.03, 0.04, 0.04))
    offset = personal_offset(rng)
    rise = _onset(len(take.talk), rng)
    path = _path(len(take.talk), take.rate, rng)
    seat = (
        WIDTH / 2 + 22 * np.sin(2.4 * list(CAST).index(take.speaker.name)) + rng.normal(0, 8),
        HEIGHT / 2 + rng.normal(0, 5),
        74 * float(np.clip(rng.normal(1, 0.07), 0.85, 1.15)),
    )
    drawn = room
    for place, talk in enumerate(take.talk):
        if place % TWOS == 0:
            moods = {emotion: strength * rise[place] for emotion, strength in take.moods.items()}
            look = blend(moods, offset)
            start = rise[place] - rise[max(0, place - 4)]
            pose = _pose(look, seat, path[place], float(talk), start)
            drawn = room.copy()
            if take.behind:
                draw_from_behind(drawn, take.speaker, pose)
            else:
                speaking = _talking(look, float(talk), float(path[place, 5]))
                draw_person(drawn, take.speaker, speaking, pose, float(path[place, 4]))
            drawn = _light(drawn, look, lamp)
        yield _expose(drawn, grain, rng)


def paint_room(rng: np.random.Generator) -> Canvas:
    """A room out of focus, shape (HEIGHT + 2 * edge, WIDTH + 2 * edge, 3)."""
    high, wide = HEIGHT + 2 * _EDGE, WIDTH + 2 * _EDGE
    wall, lower, accent = _ROOMS[rng.integers(len(_ROOMS))]
    ramp = np.linspace(0, 1, high)[:, None, None]
    room = ((1 - 0.35 * ramp) * np.array(wall) * np.ones((1, wide, 1))).astype(np.uint8)
    split = int(high * rng.uniform(0.62, 0.8))
    room[split:] = lower
    for _ in range(int(rng.integers(2, 5))):
        x, y = rng.uniform(0, wide), rng.uniform(10, split - 60)
        w, h = rng.uniform(30, 80), rng.uniform(30, 90)
        box = curve(np.array([x, x + w, x + w, x]), np.array([y, y, y + h, y + h]))
        fill(room, box, mixed(accent, (250, 244, 226), float(rng.uniform(0, 0.8))))
        stroke(room, np.concatenate([box, box[:1]]), mixed(wall, (30, 26, 26), 0.6), 4)
    lampshade = ellipse(float(rng.uniform(0, wide)), float(rng.uniform(20, 90)), 26, 18)
    fill(room, lampshade, (255, 236, 180))
    return np.asarray(cv2.GaussianBlur(room, (0, 0), 4), dtype=np.uint8)


_ROOMS: tuple[tuple[Colour, Colour, Colour], ...] = (
    ((168, 150, 190), (110, 78, 60), (90, 130, 140)),
    ((196, 176, 140), (124, 92, 64), (150, 80, 60)),
    ((140, 170, 160), (96, 96, 92), (200, 180, 110)),
    ((176, 186, 200), (120, 124, 132), (70, 90, 130)),
    ((190, 140, 120), (84, 64, 60), (60, 100, 80)),
    ((150, 160, 128), (110, 90, 70), (180, 120, 130)),
)
"""Wall, floor and furniture of each room."""


def _onset(frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Strength of the expression over the clip: onset, apex, offset; shape (frames,)."""
    time = np.linspace(0, 1, frames)
    first, last = rng.uniform(0.08, 0.3), rng.uniform(0.75, 1.1)
    rise = np.clip(time / first, 0, 1)
    fall = np.clip((1.25 - time) / (1.25 - last), 0, 1)
    return np.asarray(0.25 + 0.75 * np.minimum(rise, fall) ** 1.5)


def _path(frames: int, rate: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Movement, shape (frames, 6): sway x, sway y, tremble x, tremble y, yaw, eyelids (1 shut)."""
    time = np.arange(frames) / rate
    waves = [np.sin(2 * np.pi * rng.uniform(0.3, 0.9) * time + rng.uniform(0, 6)) for _ in range(3)]
    shake = rng.normal(0, 1, (2, frames))
    yaw = rng.normal(0, 0.22) + 0.18 * waves[2]
    blink = np.zeros(frames)
    moment = rng.uniform(0.2, 2.5)
    while moment < frames / rate:
        blink = np.maximum(blink, np.clip(1.6 - np.abs(time - moment) / (_BLINK / 3.2), 0, 1))
        moment += rng.uniform(1.2, 3.5)
    return np.stack([waves[0], waves[1], *shake, np.clip(yaw, -0.7, 0.7), blink], axis=1)


def _pose(
    look: Expression,
    seat: tuple[float, float, float],
    step: NDArray[np.float64],
    talk: float,
    start: float,
) -> Pose:
    """Where the head is in one picture: ``start`` is how fast the expression grows."""
    x, y, size = seat
    recoil = look.recoil * max(start, 0.0) * 2
    return Pose(
        x=_EDGE + x + size * (look.sway * step[0] * 1.6 + look.tremble * step[2]),
        y=_EDGE
        + y
        + size
        * (
            look.drop
            + look.sway * step[1] * 0.6
            + look.tremble * step[3]
            - look.bounce * talk
            - recoil
        ),
        scale=size * (1 + look.lean - 0.6 * recoil),
        roll=look.tilt + look.sway * step[0] * 0.8,
    )


def _talking(look: Expression, talk: float, blink: float) -> Expression:
    """The expression with the mouth and eyelids of this moment."""
    opening = max(look.mouth_open, 0.0) * (0.55 + 0.45 * talk) + 0.4 * talk
    return replace(look, mouth_open=opening, eye_open=look.eye_open * (1 - blink))


def _light(canvas: Canvas, look: Expression, lamp: NDArray[np.float64]) -> Canvas:
    """The canvas in the light of the mood, darker towards the corners, same shape."""
    levels = (np.arange(256) / 255 - 0.5) * look.contrast * lamp[4] + 0.5
    gains = np.array([look.red, look.green, look.blue]) * look.bright * lamp[:3] * lamp[3]
    table = np.clip(255 * levels[None, :, None] * gains, 0, 255).astype(np.uint8)
    lit = cv2.LUT(canvas, table)
    dark = float(np.clip(look.vignette, 0, 0.9))
    shade = cv2.multiply(lit, _CORNERS, scale=dark / 255)
    return np.asarray(cv2.subtract(lit, shade), dtype=np.uint8)


def _expose(canvas: Canvas, grain: NDArray[np.int16], rng: np.random.Generator) -> Canvas:
    """What a noisy sensor sees through a camera held by hand, shape (HEIGHT, WIDTH, 3)."""
    left, top = (round(v) for v in np.clip(rng.normal(_EDGE, 0.8, 2), 0, 2 * _EDGE))
    y, x = rng.integers(0, 32, 2)
    picture = canvas[top : top + HEIGHT, left : left + WIDTH]
    noisy = cv2.add(picture, grain[y : y + HEIGHT, x : x + WIDTH], dtype=cv2.CV_8U)
    return np.asarray(noisy, dtype=np.uint8)


def _corners() -> Canvas:
    """255 in the corners of the canvas, 0 in its middle, same shape as a room."""
    high, wide = HEIGHT + 2 * _EDGE, WIDTH + 2 * _EDGE
    y, x = np.mgrid[-1 : 1 : high * 1j, -1 : 1 : wide * 1j]
    dark = np.clip((x**2 + y**2 - 0.35) / 1.4, 0, 1)
    return np.repeat((255 * dark).astype(np.uint8)[:, :, None], 3, axis=2)


_CORNERS = _corners()
