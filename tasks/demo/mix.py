"""The sound around the voices: room, hum and laughter, mixed into stereo or 5.1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from meldflow.tasks.demo.voice import NOMINAL_DB, RATE, Signal

LAUGHTER = 0.12
"""Share of clips with a burst of laughter from the audience."""
SNR_DB = (16.0, 32.0)
"""Range of the distance between a neutral voice and the room, dB."""


def mix(voice: Signal, rng: np.random.Generator, *, surround: bool) -> NDArray[np.float32]:
    """The channels of a clip, shape (n_samples, 2) or (n_samples, 6), within [-1, 1].

    In 5.1 (front left, front right, centre, low frequency, back left, back right) the voice
    is in the centre only, as it is on television.
    """
    room = 10 ** ((NOMINAL_DB - rng.uniform(*SNR_DB)) / 20)
    steady = room * float(rng.uniform(0, 0.7)) * _hum(len(voice))
    if rng.random() < LAUGHTER:
        steady += _laughter(len(voice), rng)

    def around() -> Signal:
        return room * _room(len(voice), rng) + steady

    if surround:
        channels = [around(), around(), voice, np.zeros(len(voice)), 0.7 * around(), 0.7 * around()]
    else:
        lean = float(rng.uniform(0.85, 1.15))
        channels = [voice * lean + around(), voice * (2 - lean) + around()]
    return np.clip(np.stack(channels, axis=1), -0.99, 0.99).astype(np.float32)


def _room(size: int, rng: np.random.Generator) -> Signal:
    """Noise that falls towards high frequencies, unit variance, shape (size,)."""
    noise = np.asarray(lfilter([1.0], [1.0, -0.92], rng.normal(0, 1, size)), dtype=np.float64)
    return np.asarray(noise / (noise.std() + 1e-9))


def _hum(size: int) -> Signal:
    """Mains hum with two overtones, shape (size,)."""
    phase = 2 * np.pi * 60 * np.arange(size) / RATE
    return np.asarray(np.sin(phase) + 0.4 * np.sin(2 * phase) + 0.2 * np.sin(3 * phase))


def _laughter(size: int, rng: np.random.Generator) -> Signal:
    """Pulsing noise around one kHz over the last third, shape (size,)."""
    time = np.arange(size) / RATE
    band = lfilter([1.0, 0.0, -1.0], [1.0, -1.83, 0.9], rng.normal(0, 1, size))
    pulse = 0.5 + 0.5 * np.sin(2 * np.pi * rng.uniform(4, 6) * time)
    swell = np.clip((time / time[-1] - 0.62) / 0.2, 0, 1)
    level = 10 ** (rng.uniform(-38, -28) / 20)
    return np.asarray(level * band / (np.std(band) + 1e-9) * pulse * swell)
