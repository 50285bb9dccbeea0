"""What the tests of several benches share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import media


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder with two tiny clips."""
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(2):
        film = media.Film(frames=media.noise(15, seed=number))
        sound = media.Track(samples=media.tone(300 + 100 * number, 0.6)[None])
        media.write(folder / f"c{number}.mp4", [film, sound])
    return folder
