"""Voices whose pitch is known because it was made, alone and in what surrounds speech.

A glottal source of known f0, falling by 12 dB per octave, through the formants of vowels (Peterson
and Barney, JASA 24(2), 1952, for men), between fricatives, stops and silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from meldflow.models.extractors.grid import FRAME, HOP, frames_in
from tests.bench.pitch.contours import Contour
from tests.bench.pitch.methods import RATE

Sound = NDArray[np.float64]
"""Mono, RATE per second, shape (n_samples,)."""

_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480))
"""The first three formants, Hz, of a man: the vowels of hod, heed, who'd and head."""
_BANDWIDTHS = (80, 100, 140)
"""Of the formants, Hz."""
_EDGE = 400
"""Samples around a frame's middle within which the truth has to be one thing: half of a window of
three periods of 60 Hz."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A sound and what is known of its pitch."""

    samples: NDArray[np.float32]
    """Mono, RATE per second, shape (n_samples,)."""
    truth: Contour | None = None
    """None where nobody knows."""
    judged: NDArray[np.bool_]
    """Frames to compare, shape (n_frames,): where the truth is clear."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Speaker:
    lowest: float
    highest: float
    """Range of f0, Hz."""
    tract: float
    """How much higher than a man's the formants are."""
    jitter: float = 0.0
    """How irregular f0 is, as a share of it."""


_SPEAKERS: Mapping[str, _Speaker] = {
    "man": _Speaker(lowest=85, highest=150, tract=1.0),
    "woman": _Speaker(lowest=170, highest=280, tract=1.17),
    "child": _Speaker(lowest=260, highest=450, tract=1.35),
    "creaky man": _Speaker(lowest=63, highest=80, tract=1.0, jitter=0.02),
}


def noise(
    n_samples: int,
    rng: np.random.Generator,
    *,
    slope: float = 0.0,
    low: float = 0.0,
    high: float = RATE / 2,
) -> Sound:
    """Noise of a band (Hz), whose power falls by so many powers of the frequency."""
    spectrum = np.fft.rfft(rng.normal(size=n_samples))
    frequencies = np.fft.rfftfreq(n_samples, 1 / RATE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.asarray(np.fft.irfft(spectrum * frequencies.clip(20.0) ** (-slope / 2), n_samples))


def _hum(n_samples: int, rng: np.random.Generator) -> Sound:
    """Mains: 50 Hz and its overtones."""
    moments = np.arange(n_samples) / RATE
    partials = (np.sin(2 * np.pi * 50 * k * moments + rng.uniform(0, 7)) / k for k in range(1, 8))
    return np.asarray(sum(partials, 0 * moments))


def _music(n_samples: int, rng: np.random.Generator) -> Sound:
    """Plucked chords, two a second."""
    sound = np.zeros(n_samples)
    for begin in range(0, n_samples, RATE // 2):
        moments = np.arange(min(RATE // 2, n_samples - begin)) / RATE
        for step in rng.choice((0, 3, 5, 7, 10, 12), 3, replace=False):
            root = 220 * 2 ** (step / 12)
            string = sum((np.sin(2 * np.pi * root * k * moments) / k for k in range(1, 6)), 0.0)
            sound[begin : begin + moments.size] += string * np.exp(-3 * moments)
    return sound


BACKGROUNDS: Mapping[str, Callable[[int, np.random.Generator], Sound]] = {
    "white noise": noise,
    "pink noise": partial(noise, slope=1),
    "rumble": partial(noise, slope=2),
    "hum": _hum,
    "music": _music,
}
LEVELS_DB = (20, 10, 0)
"""Of a voice above its background."""

SPOILED: Mapping[str, Callable[[Sound], Sound]] = {
    "a constant of 0.1 added": lambda sound: sound + 0.1,
    "at -60 dBFS, in 16 bits": lambda sound: (
        np.rint(sound * (32.767 / np.abs(sound).max())) / 32768
    ),
    "clipped to a tenth of its peak": lambda sound: sound.clip(-0.1, 0.1) * 10,
}
"""What microphones and cards make of a voice whose peak is 1."""


def made() -> Iterator[tuple[str, list[Heard]]]:
    """Sounds by kind: each speaker alone, then all in each background, then all spoiled."""
    voices = {
        name: _voice(speaker, np.random.default_rng(0)) for name, speaker in _SPEAKERS.items()
    }
    for name, (sound, truth) in voices.items():
        yield name, [_heard(sound, truth)]
    for name, background in BACKGROUNDS.items():
        for level in LEVELS_DB:
            rng = np.random.default_rng(0)
            yield (
                f"{name} {level} dB below" if level else f"{name} as loud",
                [
                    _heard(sound + _scaled(background(sound.size, rng), sound, level), truth)
                    for sound, truth in voices.values()
                ],
            )
    for name, spoil in SPOILED.items():
        yield name, [_heard(spoil(sound), truth) for sound, truth in voices.values()]


def _scaled(background: Sound, sound: Sound, level: float) -> Sound:
    """The background, so many dB below the sound's RMS."""
    power = np.mean(sound**2) / np.mean(background**2)
    return np.asarray(background * np.sqrt(power) * 10 ** (-level / 20))


def _heard(sound: Sound, truth: Contour) -> Heard:
    """With the truth (per sample) in the middle of each frame, judged where it is one thing."""
    middles = FRAME // 2 + HOP * np.arange(frames_in(sound.size))
    voiced = np.pad(np.isfinite(truth), _EDGE, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(voiced, 2 * _EDGE)[middles]
    return Heard(
        samples=sound.astype(np.float32),
        truth=truth[middles],
        judged=np.asarray(around.all(axis=1) | ~around.any(axis=1)),
    )


def _voice(speaker: _Speaker, rng: np.random.Generator) -> tuple[Sound, Contour]:
    """Eight syllables, peak 1, and f0 of every sample, NaN where nothing is voiced."""
    parts: list[tuple[Sound, Contour]] = []
    for number in range(8):
        vowels = (_VOWELS[number % 4], _VOWELS[(number + 1) % 4])
        syllable = _syllable(speaker, vowels, rng)
        consonant = (np.zeros(RATE // 10), _fricative(rng, 0.15), np.zeros(RATE // 25))
        unvoiced = np.concatenate(consonant)
        parts += [(unvoiced, np.full(unvoiced.size, np.nan)), syllable]
    sound, truth = (np.concatenate(column) for column in zip(*parts, strict=True))
    return sound / np.abs(sound).max(), truth


def _syllable(
    speaker: _Speaker, vowels: tuple[tuple[int, ...], tuple[int, ...]], rng: np.random.Generator
) -> tuple[Sound, Contour]:
    """0.35 s of a diphthong on a gliding pitch, and f0 of every sample."""
    n_samples = round(0.35 * RATE)
    along = np.linspace(0, 1, n_samples)
    begin, end = rng.uniform(speaker.lowest, speaker.highest, 2)
    cycles = np.interp(along, np.linspace(0, 1, 40), rng.normal(0, speaker.jitter, 40))
    f0 = np.geomspace(begin, end, n_samples) * (1 + cycles)
    phase = 2 * np.pi * np.cumsum(f0) / RATE
    formants = speaker.tract * np.array(
        [np.interp(along, (0, 1), both) for both in zip(*vowels, strict=True)]
    )
    sound = np.zeros(n_samples)
    for k in range(1, int(RATE / 2 / f0.min())):
        gain = np.where(k * f0 < RATE / 2, k**-2.0, 0.0)
        for formant, bandwidth in zip(formants, _BANDWIDTHS, strict=True):
            ratio = k * f0 / formant
            gain /= np.hypot(1 - ratio**2, ratio * bandwidth / formant)
        # Lips radiate the change of the flow: 6 dB more per octave.
        sound += gain * k * np.sin(k * phase)
    fade = np.minimum(1, np.minimum(along, 1 - along) / 0.1)
    return fade * sound / np.abs(sound).max(), f0


def _fricative(rng: np.random.Generator, loudness: float) -> Sound:
    """0.12 s of noise above 3 kHz."""
    n_samples = round(0.12 * RATE)
    hiss = noise(n_samples, rng, low=3000)
    return np.asarray(np.hanning(n_samples) * loudness * hiss / hiss.std())
