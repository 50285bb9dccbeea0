"""How far two contours of pitch agree, and tones of known pitch.

The figures are those of Rabiner et al., "A comparative performance study of several pitch detection
algorithms", IEEE Trans. ASSP 24(5), 1976: voicing errors in both directions, gross and fine errors
of the pitch.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from meldflow.models.extractors.grid import FRAME, HOP, frames_in
from meldflow.models.extractors.librosa.pitch import PITCH, pitch

RATE = 16_000
"""Of all sounds here, Hz."""
FMIN, FMAX = 60.0, 600.0
"""Range of pitch, Hz: that of ``audio/librosa`` by default."""

GROSS_SHARE = 0.2
"""A pitch that is further off is a gross error."""
GROSS_SECONDS = 0.001
"""Rabiner et al.: a period that is further off is a gross error (10 samples at 10 kHz)."""
CLOSE_CENTS = 50.0
"""Half a semitone."""

TONES_HZ = np.geomspace(70.0, 500.0, 16)
NOISES_DB: tuple[float | None, ...] = (None, 20.0, 10.0)
"""Level of a tone above white noise; None: no noise."""
OVERTONES = 10
"""Partials of a harmonic tone, falling by 6 dB per octave."""
_QUIET, _TONE = 0.3, 0.6
"""Seconds before and after a tone, and of the tone."""
_EDGE = 1024
"""Samples that the search for a period may look at: so close to a tone's ends, nothing is true."""

Contour = NDArray[np.float64]
"""f0 of every frame, Hz, NaN where unvoiced, shape (n_frames,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a contour is from another one, the reference; shares are NaN of nothing."""

    frames: int
    """Frames that were compared."""
    voicing: float
    """Share of frames on whose voicing both agree."""
    missed: float
    """Among frames that are voiced in the reference, the share of those that are not here."""
    invented: float
    """Among frames that are unvoiced in the reference, the share of those that are voiced here."""
    both_voiced: int
    """Frames that are voiced in both; what follows is about them."""
    close: float
    """Share of frames within 50 cents."""
    cents: float
    """Median distance, cents."""
    gross: float
    """Share of frames more than 20 % off."""
    gross_period: float
    """Share of frames whose period is more than 1 ms off: the gross errors of Rabiner et al."""


def agreement(found: Contour, reference: Contour, judged: NDArray[np.bool_]) -> Agreement:
    """Compares contours on the frames that are ``judged``; all have shape (n_frames,)."""
    found, reference = found[judged], reference[judged]
    here, there = ~np.isnan(found), ~np.isnan(reference)
    both = here & there
    ours, theirs = found[both], reference[both]
    cents = 1200 * np.abs(np.log2(ours / theirs))
    return Agreement(
        frames=len(found),
        voicing=_share(here == there),
        missed=_share(~here[there]),
        invented=_share(here[~there]),
        both_voiced=int(both.sum()),
        close=_share(cents <= CLOSE_CENTS),
        cents=float(np.median(cents)) if cents.size else float("nan"),
        gross=_share(np.abs(ours / theirs - 1) > GROSS_SHARE),
        gross_period=_share(np.abs(1 / ours - 1 / theirs) > GROSS_SECONDS),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """A sound and what is known of its pitch."""

    samples: NDArray[np.float32]
    """Mono, RATE per second, shape (n_samples,)."""
    truth: Contour | None = None
    """None where nobody knows."""
    judged: NDArray[np.bool_] | None = None
    """Frames of which the truth is clear, shape (n_frames,); None: all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The methods on some sounds of one kind."""

    name: str
    seconds: float
    """Playing time."""
    against_truth: Mapping[str, Agreement]
    """Method → agreement with the truth; empty where nobody knows it."""
    between: Agreement
    """YIN against pYIN, on all frames."""
    cpu_ms: Mapping[str, float]
    """Method → CPU milliseconds per second of sound."""


@dataclass(slots=True)
class _Found:
    """The contours of one kind's sounds by one method, end to end."""

    contours: list[Contour] = field(default_factory=list)
    cpu_seconds: float = 0.0

    @property
    def contour(self) -> Contour:
        return np.concatenate(self.contours)


def compare_pitch(name: str, sounds: Sequence[Heard]) -> Compared:
    """Runs all methods on the sounds, which are all of known pitch or all of unknown."""
    found = {method: _run(method, sounds) for method in PITCH}
    seconds = sum(one.samples.size for one in sounds) / RATE
    truths = [one.truth for one in sounds if one.truth is not None]
    everything = np.ones(len(found["yin"].contour), bool)
    judged = np.concatenate([_judged(one) for one in sounds])
    return Compared(
        name=name,
        seconds=round(seconds, 2),
        against_truth={
            method: agreement(one.contour, np.concatenate(truths), judged)
            for method, one in found.items()
            if truths
        },
        between=agreement(found["yin"].contour, found["pyin"].contour, everything),
        cpu_ms={method: 1000 * one.cpu_seconds / seconds for method, one in found.items()},
    )


def warm_up() -> None:
    """Compiles what the methods need, so that it counts for none of them."""
    for method in PITCH:
        pitch(tone(200.0, 1), RATE, method, FMIN, FMAX)


def _run(method: str, sounds: Sequence[Heard]) -> _Found:
    found = _Found()
    for one in sounds:
        started = time.process_time()
        f0, _ = pitch(one.samples, RATE, method, FMIN, FMAX)
        found.cpu_seconds += time.process_time() - started
        found.contours.append(f0)
    return found


def _judged(sound: Heard) -> NDArray[np.bool_]:
    if sound.judged is None:
        return np.ones(frames_in(sound.samples.size), bool)
    return sound.judged


def tones() -> Iterator[tuple[str, list[Heard]]]:
    """Tones of every pitch between quiet stretches, by kind: pure or harmonic, and by noise."""
    for kind, partials in {"pure": 1, "harmonic": OVERTONES}.items():
        for noise in NOISES_DB:
            about = "" if noise is None else f", noise {noise:.0f} dB below"
            rng = np.random.default_rng(0)
            yield f"{kind} tones{about}", [_toned(hz, partials, noise, rng) for hz in TONES_HZ]


def tone(hz: float, partials: int) -> NDArray[np.float32]:
    """A tone of so many partials below 7 kHz, of RMS 0.1, shape (n_samples,)."""
    moments = np.arange(round(_TONE * RATE)) / RATE
    numbers = [n for n in range(1, partials + 1) if n * hz < 7000]
    sound = sum((np.sin(2 * np.pi * n * hz * moments + n) / n for n in numbers), 0 * moments)
    return np.asarray(0.1 * sound / np.sqrt(np.mean(sound**2)), dtype=np.float32)


def frame_centres(n_samples: int) -> NDArray[np.int64]:
    """The samples in the middle of the frames, shape (n_frames,)."""
    return np.arange(frames_in(n_samples)) * HOP + FRAME // 2


def _toned(hz: float, partials: int, noise: float | None, rng: np.random.Generator) -> Heard:
    margin = round(_QUIET * RATE)
    samples = np.pad(tone(hz, partials), margin)
    if noise is not None:
        samples += (0.1 * 10 ** (-noise / 20) * rng.normal(0, 1, samples.size)).astype(np.float32)
    centres = frame_centres(samples.size)
    begin, end = margin, samples.size - margin
    half = _EDGE // 2
    inside = (centres - half >= begin) & (centres + half <= end)
    outside = (centres + half <= begin) | (centres - half >= end)
    return Heard(samples=samples, truth=np.where(inside, hz, np.nan), judged=inside | outside)


def _share(which: NDArray[np.bool_]) -> float:
    return float(which.mean()) if which.size else float("nan")
