"""What ``decode`` made of a clip, for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meldflow.models.clips.decode import decode
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Audio, AudioFacts, Missing, Video, VideoFacts
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


def in_float(frame: Any, size: tuple[int, int]) -> NDArray[np.float64]:
    """A ``yuv420p`` frame of limited range in RGB, scaled to (height, width), without rounding.

    BT.709 where the stream names it, or nothing and is higher than 576 lines; else BT.601. Worked
    out here from their definition.
    """
    named, unknown = frame.colorspace == 1, frame.colorspace == 2
    high = named or (unknown and frame.height > 576)
    red, blue = (0.2126, 0.0722) if high else (0.299, 0.114)
    y, u, v = (plane_in_float(frame, number, size) for number in range(3))
    y, u, v = (y - 16) / 219, (u - 128) / 224, (v - 128) / 224
    r, b = y + 2 * (1 - red) * v, y + 2 * (1 - blue) * u
    g = (y - red * r - blue * b) / (1 - red - blue)
    return np.clip(np.stack([r, g, b], axis=-1) * 255, 0, 255)


def plane_in_float(frame: Any, number: int, size: tuple[int, int]) -> NDArray[np.float64]:
    part = 1 if number == 0 else 2
    width, height = frame.width // part, frame.height // part
    plane = frame.planes[number]
    values = np.frombuffer(plane, np.uint8, plane.line_size * height).reshape(height, -1)
    image = Image.fromarray(values[:, :width].astype(np.float32))
    return np.asarray(image.resize(size[::-1], Image.Resampling.BILINEAR), np.float64)
