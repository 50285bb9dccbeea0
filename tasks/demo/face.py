"""Drawn faces: a speaker's looks and an expression become one picture."""

from __future__ import annotations

import numpy as np

from meldflow.tasks.demo.cast import Colour, Speaker
from meldflow.tasks.demo.expression import Expression
from meldflow.tasks.demo.paint import Canvas, Points, Pose, curve, ellipse, fill, mixed, stroke

_WHITE, _INK, _THROAT, _TONGUE = (250, 248, 244), (36, 28, 30), (92, 26, 34), (214, 104, 108)
_RED, _GREEN, _PALE, _WATER = (226, 66, 58), (126, 176, 70), (232, 234, 240), (150, 205, 245)
_T = np.linspace(-1, 1, 17)
"""Places across a mouth or an eye."""


def draw_person(canvas: Canvas, speaker: Speaker, look: Expression, pose: Pose, yaw: float) -> None:
    """Paint a speaker who looks at the camera, turned by ``yaw`` (-1..1), onto ``canvas``."""
    skin = _complexion(speaker, look)
    _draw_back_hair(canvas, speaker, pose)
    _draw_body(canvas, speaker, skin, pose)
    fill(canvas, pose(ellipse(0, 0, speaker.width, 1.0)), skin)
    for side in (-1, 1):
        cheek = ellipse(side * 0.44 + yaw * 0.2, 0.3, 0.19, 0.14)
        fill(canvas, pose(cheek), mixed(skin, _RED, 0.08 + 0.5 * look.flush))
    if speaker.beard:
        _draw_beard(canvas, speaker, pose, yaw)
    for side in (-1, 1):
        _draw_eye(canvas, speaker, look, pose, (side, yaw))
    _draw_nose(canvas, skin, look, pose, yaw)
    _draw_mouth(canvas, skin, look, pose, yaw)
    _draw_front_hair(canvas, speaker, pose)
    _draw_drops(canvas, look, pose, yaw)


def draw_from_behind(canvas: Canvas, speaker: Speaker, pose: Pose) -> None:
    """Paint a speaker who has turned away: looks, but no expression."""
    bald = speaker.style == "bald"
    _draw_body(canvas, speaker, speaker.skin, pose)
    _draw_back_hair(canvas, speaker, pose)
    fill(canvas, pose(ellipse(0, 0, speaker.width, 1.0)), speaker.skin if bald else speaker.hair)
    if bald:
        fill(canvas, pose(ellipse(0, 0.35, speaker.width * 0.97, 0.4)), speaker.hair)
    sheen = mixed(speaker.hair, _WHITE, 0.18)
    for side in (-0.35, 0.0, 0.35):
        stroke(canvas, pose(curve(side + 0.1 * _T**2, 0.6 * _T)), sheen, 0.03 * pose.scale)


def _complexion(speaker: Speaker, look: Expression) -> Colour:
    skin = mixed(speaker.skin, _PALE, 0.55 * look.pale)
    skin = mixed(skin, _GREEN, 0.4 * look.sick)
    return mixed(skin, _RED, 0.22 * (look.flush - 0.4))


def _draw_body(canvas: Canvas, speaker: Speaker, skin: Colour, pose: Pose) -> None:
    shade = mixed(skin, _INK, 0.18)
    upright = Pose(x=pose.x, y=pose.y, scale=pose.scale, roll=pose.roll * 0.3)
    fill(canvas, upright(ellipse(0, 2.25, 1.65, 1.12)), speaker.shirt)
    fill(
        canvas,
        upright(curve(np.array([-0.3, 0.3, 0.42, -0.42]), np.array([0.6, 0.6, 1.4, 1.4]))),
        shade,
    )
    fill(canvas, upright(ellipse(0, 1.32, 0.43, 0.22)), shade)
    for side in (-1, 1):
        fill(canvas, pose(ellipse(side * speaker.width, 0.08, 0.11, 0.18)), shade)


def _draw_back_hair(canvas: Canvas, speaker: Speaker, pose: Pose) -> None:
    wide, dark = speaker.width, mixed(speaker.hair, _INK, 0.25)
    if speaker.style == "long":
        fill(canvas, pose(ellipse(0, 0.25, wide * 1.38, 1.3)), dark)
    elif speaker.style == "bun":
        fill(canvas, pose(ellipse(0, -1.12, 0.36, 0.3)), dark)
        fill(canvas, pose(ellipse(0, -0.15, wide * 1.1, 0.98)), dark)
    elif speaker.style == "curly":
        for angle in np.linspace(-3.5, 0.36, 11):
            spot = ellipse(1.02 * wide * np.cos(angle), 0.86 * np.sin(angle) - 0.12, 0.3, 0.3)
            fill(canvas, pose(spot), dark)


def _draw_front_hair(canvas: Canvas, speaker: Speaker, pose: Pose) -> None:
    wide = speaker.width
    if speaker.style == "bald":
        for side in (-1, 1):
            fill(canvas, pose(ellipse(side * wide * 0.98, -0.12, 0.1, 0.26)), speaker.hair)
        return
    angles = np.linspace(np.pi * 1.03, np.pi * 1.97, 25)
    crown = curve(1.05 * wide * np.cos(angles), 1.07 * np.sin(angles) - 0.01)
    x = np.linspace(1.0, -1.0, 17)
    line = {"short": -0.62, "long": -0.66, "bun": -0.7, "curly": -0.58}[speaker.style]
    part = 0.12 * np.sin(5 * x + 0.8) if speaker.style in ("short", "long") else 0.0
    edge = line + 0.42 * np.abs(x) ** 3 + part * (1 - x**2)
    fill(canvas, pose(np.concatenate([crown, curve(x * wide * 0.97, edge)])), speaker.hair)
    if speaker.style == "curly":
        for angle in np.linspace(-2.75, -0.39, 7):
            spot = ellipse(0.8 * wide * np.cos(angle), 0.84 * np.sin(angle) - 0.06, 0.2, 0.19)
            fill(canvas, pose(spot), speaker.hair)


def _draw_beard(canvas: Canvas, speaker: Speaker, pose: Pose, yaw: float) -> None:
    angles = np.linspace(0.06 * np.pi, 0.94 * np.pi, 21)
    jaw = curve(speaker.width * 1.02 * np.cos(angles), 1.05 * np.sin(angles))
    x = np.linspace(-1, 1, 15)
    top = curve(x * speaker.width * 0.95 + 0.15 * yaw, 0.3 + 0.1 * np.cos(3 * x))
    fill(canvas, pose(np.concatenate([jaw, top])), mixed(speaker.hair, speaker.skin, 0.15))


def _draw_eye(
    canvas: Canvas, speaker: Speaker, look: Expression, pose: Pose, where: tuple[int, float]
) -> None:
    """One eye with its lids and brow; ``where`` is (side, yaw), side -1 on the left."""
    side, yaw = where
    x, y, wide, high = side * 0.34 + yaw * 0.22, -0.1, 0.2, 0.21
    lid = mixed(_complexion(speaker, look), _INK, 0.1)
    fill(canvas, pose(ellipse(x, y, wide, high)), _WHITE)
    gaze = x + 0.04 * yaw
    fill(canvas, pose(ellipse(gaze, y, 0.105, 0.105)), speaker.iris)
    size = 0.058 * max(look.pupil, 0.3)
    fill(canvas, pose(ellipse(gaze, y, size, size)), _INK)
    fill(canvas, pose(ellipse(gaze - 0.03, y - 0.035, 0.022, 0.022)), _WHITE)
    arch = np.sqrt(np.clip(1 - _T**2, 0, 1))
    droop = look.lid_slant * 0.14 * (side * _T + 0.35)
    opening = float(np.clip(look.eye_open, -0.2, 1.45))
    upper = np.minimum(
        y - high * (1.3 * opening - 0.45) * arch + droop * arch, y + high * 0.75 * arch
    )
    lower = np.maximum(y + high * arch * (1 - 0.85 * float(np.clip(look.squint, 0, 1))), upper)
    across = x + _T * wide * 1.04
    _close(canvas, pose, across, (y - high * 1.08 * arch - 0.015, upper), lid)
    _close(canvas, pose, across, (lower, y + high * 1.08 * arch + 0.015), lid)
    stroke(canvas, pose(curve(across, upper)), _INK, 0.045 * pose.scale)
    if speaker.glasses:
        ring = ellipse(x, y + 0.02, 0.29, 0.27)
        stroke(canvas, pose(np.concatenate([ring, ring[:1]])), _INK, 0.04 * pose.scale)
    brow_y = -0.43 - look.brow_raise - side * _T * -look.brow_slant * 0.5 - 0.05 * (1 - _T**2)
    brow = curve(x + _T * 0.23, brow_y)
    stroke(canvas, pose(brow), mixed(speaker.hair, _INK, 0.45), 0.09 * pose.scale)


def _close(
    canvas: Canvas, pose: Pose, across: Points, band: tuple[Points, Points], colour: Colour
) -> None:
    """Paint the band between two curves over the same places, where the first is above."""
    top, bottom = band
    outline = np.concatenate([curve(across, top), curve(across, np.maximum(bottom, top))[::-1]])
    fill(canvas, pose(outline), colour)


def _draw_nose(canvas: Canvas, skin: Colour, look: Expression, pose: Pose, yaw: float) -> None:
    shade = mixed(skin, _INK, 0.3)
    x = np.array([0.02, -0.06, -0.1, 0.0, 0.09]) + 0.3 * yaw
    y = np.array([-0.06, 0.12, 0.2, 0.25, 0.2]) - 0.03 * look.sneer
    stroke(canvas, pose(curve(x, y)), shade, 0.045 * pose.scale)
    if look.sneer > 0.3:
        for side in (-1, 1):
            crease = curve(
                side * np.array([0.12, 0.2, 0.3]) + 0.25 * yaw, np.array([0.08, 0.2, 0.38])
            )
            stroke(canvas, pose(crease), shade, 0.04 * look.sneer * pose.scale)


def _draw_mouth(canvas: Canvas, skin: Colour, look: Expression, pose: Pose, yaw: float) -> None:
    across = _T * 0.4 * float(np.clip(look.mouth_width, 0.3, 1.3)) + 0.22 * yaw
    opening = float(np.clip(look.mouth_open, 0, 1.1))
    bow = 1 - _T**2
    corner = 0.54 - 0.13 * look.mouth_curve
    middle = 0.54 + 0.09 * look.mouth_curve
    sneer = 0.1 * look.sneer * np.exp(-((_T - 0.45) ** 2) / 0.1)
    upper = corner + (middle - corner - 0.07 * opening) * bow - sneer
    lower = corner + (middle - corner + 0.3 * opening) * bow + 0.012
    lips = mixed(skin, (176, 52, 62), 0.6)
    if opening > 0.04:
        gap = lower - upper
        _close(canvas, pose, across, (upper, lower), _THROAT)
        inner = np.abs(_T) < 0.75
        _close(canvas, pose, across[inner], ((lower - 0.35 * gap)[inner], lower[inner]), _TONGUE)
        _close(canvas, pose, across, (upper, upper + np.minimum(0.1, 0.42 * gap)), _WHITE)
    stroke(canvas, pose(curve(across, lower)), lips, 0.065 * pose.scale)
    stroke(canvas, pose(curve(across, upper)), lips, 0.055 * pose.scale)


def _draw_drops(canvas: Canvas, look: Expression, pose: Pose, yaw: float) -> None:
    if look.tears > 0.45:
        for side in (-1, 1):
            x = side * 0.38 + 0.22 * yaw
            trail = curve(x + np.array([0, 0.02 * side, 0.03 * side]), np.array([0.12, 0.3, 0.45]))
            stroke(canvas, pose(trail), _WATER, 0.06 * pose.scale)
            fill(canvas, pose(ellipse(x + 0.03 * side, 0.47, 0.055, 0.075)), _WATER)
    if look.sweat > 0.45:
        for x, y in ((-0.5, -0.45), (0.55, -0.38), (0.6, 0.0)):
            fill(canvas, pose(ellipse(x, y, 0.045, 0.075)), _WATER)
