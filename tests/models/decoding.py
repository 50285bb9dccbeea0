"""What ``decode`` made of a clip, for tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.decode import decode
from models.options import DecodeOptions
from models.schema import Audio, AudioFacts, Missing, Video, VideoFacts
from tests.media import tone

RATE = 16000
MONO = tone(440, 1.0)[None]


def sound(path: Path, options: DecodeOptions | None = None) -> Audio:
    audio = decode(path, options).audio
    assert isinstance(audio, Audio), audio
    return audio


def pictures(path: Path, options: DecodeOptions | None = None) -> Video:
    video = decode(path, options).video
    assert isinstance(video, Video), video
    return video


def reasons(path: Path | str, options: DecodeOptions | None = None) -> tuple[str, str]:
    """Of sound and pictures; empty where there are some."""
    decoded = decode(path, options)
    return reason(decoded.audio), reason(decoded.video)


def reason(end: Audio | Video | Missing) -> str:
    return end.reason.value if isinstance(end, Missing) else ""


def facts(path: Path, options: DecodeOptions | None = None) -> tuple[AudioFacts, VideoFacts]:
    decoded = decode(path, options)
    assert decoded.audio_facts is not None
    assert decoded.video_facts is not None
    return decoded.audio_facts, decoded.video_facts


def loudest_hertz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum)) * RATE / samples.size


def gray_frames(values: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Frames of shape (n, height, width, 3) from gray ones of shape (height, width)."""
    return np.repeat(np.stack(values)[..., None], 3, axis=3)
