"""Pitch and voicing on the grid of speech frames: by autocorrelation, or by pYIN.

Autocorrelation finds the cheapest path through what each frame could be:

Boersma, "Accurate short-term analysis of the fundamental frequency and the harmonics-to-noise ratio
of a sampled sound", IFA Proceedings 17, 1993: the method of Praat. The sound is kept to a band
first, as Praat's newer "filtered autocorrelation" does: rumble, hum and hiss have no say. The
costs of a path are Praat's; band, thresholds and bonus were chosen on every fourth sentence of the
FDA evaluation data base (see docs/pitch.md).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from meldflow.models.extractors.grid import FRAME, HOP, frames_in

_BAND = (100.0, 1100.0)
"""Frequencies whose amplitude the filter halves, Hz; its slopes are Gaussian."""
_VOICED = 0.55
"""Correlation above which a frame is voiced."""
_SILENT = 0.05
"""Peak of a frame, as a share of the clip's, below which it is silent."""
_OCTAVE = 0.03
"""Bonus per octave of a higher pitch: a period's multiples correlate as well as the period."""
_JUMP, _SWITCH = 0.35, 0.14
"""Cost of an octave's leap, and of voice setting in or out, between frames of 10 ms."""
_PERIODS = 3
"""Periods of the lowest pitch that a window holds."""
_CANDIDATES = 14
"""Peaks of a frame's autocorrelation that are looked at."""
_CHUNK = 1500
"""Frames transformed at once, which bounds memory only."""


class _Candidates(NamedTuple):
    """What each frame could be: unvoiced (the first, with a pitch of 0), or of some pitch."""

    hertz: NDArray[np.float64]
    """Shape (n_frames, n_candidates)."""
    strength: NDArray[np.float64]
    """How much speaks for each, same shape."""


def autocorrelation(
    samples: NDArray[np.float32], rate: int, fmin: float, fmax: float
) -> NDArray[np.float64]:
    """f0 of every frame, Hz, NaN where unvoiced, shape (n_frames,).

    Args:
        samples: mono sound.
        rate: its rate, Hz.
        fmin: lowest pitch, Hz.
        fmax: highest pitch, Hz.
    """
    sound = _in_band(samples, rate)
    half = round(_PERIODS * rate / fmin / 2)
    middles = FRAME // 2 + HOP * np.arange(frames_in(sound.size))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(sound, half), 2 * half)
    loudest = float(np.abs(sound).max(initial=0.0))
    parts = [
        _candidates(windows[middles[begin : begin + _CHUNK]], loudest, rate, fmin, fmax)
        for begin in range(0, middles.size, _CHUNK)
    ]
    hertz = _cheapest(_Candidates(*(np.concatenate(column) for column in zip(*parts, strict=True))))
    return np.where(hertz > 0, hertz, np.nan)


def _in_band(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    """The sound without what lies below and above the band of a voice's strongest harmonics."""
    from scipy.signal import oaconvolve  # half a second, which no command need wait for

    low, high = _BAND
    n_taps = 1 + 2 * (rate // 50)
    frequencies = np.fft.rfftfreq(n_taps, 1 / rate)
    gain = 2 ** -((frequencies / high) ** 2) * (1 - 2 ** -((frequencies / low) ** 2))
    taps = np.fft.fftshift(np.fft.irfft(gain, n_taps))
    sound = samples - samples.mean(dtype=np.float64)
    return np.asarray(oaconvolve(sound, taps, mode="same"))


def _candidates(
    frames: NDArray[np.float64], loudest: float, rate: int, fmin: float, fmax: float
) -> _Candidates:
    """Peaks of the autocorrelation of frames of shape (n_frames, n_samples)."""
    period = int(rate / fmin)
    correlation = _correlation(frames, n_lags=period + 3)
    lags = np.arange(int(rate / fmax), correlation.shape[1] - 1)
    before, here, after = (correlation[:, lags + step] for step in (-1, 0, 1))
    peak = (here > before) & (here >= after) & (here > 0)
    # A parabola through three points has its top between the samples.
    slope = np.where(peak, before - after, 0.0)
    bend = np.where(peak, before - 2 * here + after, -1.0)
    shift = slope / (2 * bend)
    height = here - slope * shift / 4
    hertz = rate / (lags + shift)
    strength = np.where(height > 1, 1 / height.clip(1), height) + _OCTAVE * np.log2(hertz / fmin)
    strength[~peak | (hertz < fmin) | (hertz > fmax)] = -np.inf
    best = np.argsort(-strength, axis=1)[:, :_CANDIDATES]

    middle = frames[:, (frames.shape[1] - period) // 2 :][:, :period]
    level = np.abs(middle).max(axis=1) / (loudest or 1.0)
    unvoiced = _VOICED + np.maximum(0, 2 - level * (1 + _VOICED) / _SILENT)
    return _Candidates(
        hertz=np.column_stack([np.zeros(len(frames)), np.take_along_axis(hertz, best, axis=1)]),
        strength=np.column_stack([unvoiced, np.take_along_axis(strength, best, axis=1)]),
    )


def _correlation(frames: NDArray[np.float64], n_lags: int) -> NDArray[np.float64]:
    """Normalised autocorrelation of Hann-windowed frames, shape (n_frames, n_lags).

    Divided by the window's own, so that a period counts the same at every lag.
    """
    n_samples = frames.shape[1]
    window = np.hanning(n_samples + 2)[1:-1]
    size = scipy.fft.next_fast_len(n_samples + n_lags, real=True)

    def of(sounds: NDArray[np.float64]) -> NDArray[np.float64]:
        spectrum = scipy.fft.rfft(sounds, size)
        power = spectrum.real**2 + spectrum.imag**2
        return np.asarray(scipy.fft.irfft(power, size)[..., :n_lags])

    found = of((frames - frames.mean(axis=1, keepdims=True)) * window)
    own = of(window)
    energy = found[:, :1]
    share = np.divide(found, energy, out=np.zeros_like(found), where=energy > 0)
    return np.asarray(share * (own[0] / own))


def _cheapest(candidates: _Candidates) -> NDArray[np.float64]:
    """The pitch of every frame on the path that has the most for it, 0 where unvoiced (Viterbi)."""
    hertz, strength = candidates
    n_frames, n_candidates = hertz.shape
    voiced = hertz > 0
    octaves = np.log2(np.where(voiced, hertz, 1.0))
    frames_of_10_ms = HOP / 160
    came_from = np.zeros((n_frames, n_candidates), np.int64)
    score = strength[0]
    for i in range(1, n_frames):
        leap = _JUMP * np.abs(octaves[i - 1, :, None] - octaves[i])
        both = voiced[i - 1, :, None] & voiced[i]
        switch = _SWITCH * (voiced[i - 1, :, None] != voiced[i])
        arriving = score[:, None] - np.where(both, leap, switch) / frames_of_10_ms
        came_from[i] = arriving.argmax(axis=0)
        score = arriving.max(axis=0) + strength[i]
    path = np.empty(n_frames, np.int64)
    path[-1] = score.argmax()
    for i in range(n_frames - 1, 0, -1):
        path[i - 1] = came_from[i, path[i]]
    chosen: NDArray[np.float64] = hertz[np.arange(n_frames), path]
    return chosen


_SPAN = 1024
"""Samples that pYIN searches for a period: two periods of 32 Hz at 16 kHz."""

Method = Callable[[NDArray[np.float32], int, float, float], NDArray[np.float64]]
"""Mono sound, its rate, the lowest and the highest pitch (Hz) → f0 of every frame, NaN where
unvoiced."""


def _pyin(samples: NDArray[np.float32], rate: int, fmin: float, fmax: float) -> NDArray[np.float64]:
    """Probabilistic YIN: Mauch and Dixon, "pYIN", ICASSP 2014, with librosa's defaults."""
    import librosa

    padded = np.pad(samples, (_SPAN - FRAME) // 2)[: (frames_in(samples.size) - 1) * HOP + _SPAN]
    f0, _, _ = librosa.pyin(
        padded, fmin=fmin, fmax=fmax, sr=rate, frame_length=_SPAN, hop_length=HOP, center=False
    )
    return np.asarray(f0)


PITCH: dict[str, Method] = {"autocorrelation": autocorrelation, "pyin": _pyin}
