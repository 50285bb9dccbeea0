"""Drawing with soft edges: polygons and lines in the coordinates of a head that moves."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from meldflow.tasks.demo.cast import Colour

Canvas = NDArray[np.uint8]
"""RGB picture, shape (height, width, 3)."""
Points = NDArray[np.float64]
"""Shape (n_points, 2): x to the right, y down."""

_SHIFT = 4
_TURN = np.linspace(0, 2 * np.pi, 36, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pose:
    """Where a head is: head coordinates (unit: its half-height) become pixels."""

    x: float
    """Centre, pixels."""
    y: float
    scale: float
    """Half-height, pixels."""
    roll: float
    """Radians."""

    def __call__(self, points: Points) -> Points:
        """Pixels of ``points``, same shape."""
        cos, sin = self.scale * math.cos(self.roll), self.scale * math.sin(self.roll)
        return np.asarray(points @ np.array([[cos, sin], [-sin, cos]]) + (self.x, self.y))


def ellipse(x: float, y: float, rx: float, ry: float) -> Points:
    """The outline of an ellipse, shape (36, 2)."""
    return _CIRCLE * (rx, ry) + (x, y)


def curve(xs: Points, ys: Points) -> Points:
    """Two vectors as points, shape (n_points, 2)."""
    return np.array([xs, ys]).T


def fill(canvas: Canvas, points: Points, colour: Colour) -> None:
    """Paint the inside of a polygon given in pixels."""
    cv2.fillPoly(canvas, [_fixed(points)], colour, lineType=cv2.LINE_AA, shift=_SHIFT)


def stroke(canvas: Canvas, points: Points, colour: Colour, width: float) -> None:
    """Paint an open line of ``width`` pixels through points given in pixels."""
    thick = max(1, round(width))
    cv2.polylines(canvas, [_fixed(points)], False, colour, thick, cv2.LINE_AA, _SHIFT)


def mixed(one: Colour, other: Colour, share: float) -> Colour:
    """A colour between two: ``one`` at share 0, ``other`` at 1 or above."""
    share = min(max(share, 0.0), 1.0)
    red, green, blue = (round(a + share * (b - a)) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _fixed(points: Points) -> NDArray[np.int32]:
    return (points * (1 << _SHIFT) + 0.5).astype(np.int32)
