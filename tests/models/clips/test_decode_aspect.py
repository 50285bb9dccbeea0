"""Pixels that are not square, wherever it is said."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest

from tests.media import Film, noise, write
from tests.models.clips.decoding import pictures, reasons

PAL = Fraction(64, 45)


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi", "a.ts", "a.mpg"])
def test_in_the_pictures_alone(tmp_path: Path, name: str, codec: str) -> None:
    path = write(tmp_path / name, [Film(frames=noise(2, 576, 720), aspect=PAL, codec=codec)])
    path.write_bytes(path.read_bytes().replace(b"pasp", b"free"))  # QuickTime's and MPEG-4's own
    assert pictures(path).frames.shape[1:3] == (256, 455)


def test_in_the_container(tmp_path: Path) -> None:
    film = Film(frames=noise(2, 576, 720), aspect=PAL, codec="png", pixels="rgb24")
    assert pictures(write(tmp_path / "a.mov", [film])).frames.shape[1:3] == (256, 455)


def test_pixels_that_make_a_line_of_the_picture_are_refused(tmp_path: Path) -> None:
    for aspect in (Fraction(13), Fraction(1, 22)):
        path = write(tmp_path / "a.mp4", [Film(frames=noise(2), aspect=aspect)])
        assert reasons(path) == ("no_audio", "decode_error")


def test_the_cases(clip: Callable[[str], Path]) -> None:
    for name in ("pal.mp4", "pal_pasp.mp4"):
        assert pictures(clip(name)).frames.shape[1:3] == (256, 455)
