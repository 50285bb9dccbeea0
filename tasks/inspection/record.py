"""What is known of a clip once somebody has looked into it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import AudioFacts, Media, Missing, VideoFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An array that an extractor gives for this clip."""

    array: str
    dims: tuple[str, ...]
    shape: tuple[int | None, ...]
    """None where the extractor does not tell its length before it runs."""
    dtype: str


Outcome: TypeAlias = tuple[Shape, ...] | Missing
"""What an extractor makes of a clip: its arrays, or why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A clip as an extraction would see it."""

    path: str
    size_bytes: int
    container: str
    """FFmpeg's name of the format; empty where the file cannot be opened."""
    streams: tuple[str, ...]
    """What every stream of the file is, by its number."""
    seconds: float
    """Duration by the container, seconds; NaN where it declares none."""
    audio_facts: AudioFacts
    video_facts: VideoFacts
    media: Media
    options: DecodeOptions
    """How it was decoded."""
    outcomes: Mapping[str, Outcome]
    """Registry name → what the extractor makes of it."""
    descriptors: Mapping[str, NDArray[Any]]
    """Column of an extractor that was run (``f0``, ``rms``) → its values, shape (n_frames,)."""

    @property
    def used(self) -> frozenset[int]:
        """Numbers of the streams that are decoded."""
        return frozenset({self.audio_facts.index, self.video_facts.index} - {-1})

    @property
    def delay(self) -> float:
        """Seconds from the start of the pictures to that of the sound; 0 if one is unknown."""
        delay = self.audio_facts.start - self.video_facts.start
        return 0.0 if math.isnan(delay) else delay

    @property
    def lead(self) -> float:
        """Seconds of silence that stand before sound that starts late."""
        return max(0.0, self.delay)

    @property
    def pitch(self) -> tuple[float | None, float | None]:
        """Median f0, Hz, and the share of voiced frames; None for what is not known."""
        f0 = self.descriptors.get("f0")
        if f0 is None:
            return None, None
        voiced = f0[~np.isnan(f0)]
        return (float(np.median(voiced)) if voiced.size else None), voiced.size / f0.size
