"""Fundamental frequency and voicing on the grid of speech frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meldflow.models.extractors.grid import FRAME, HOP, frames_in

Pitch = tuple[NDArray[np.float64], NDArray[np.float64]]

_SPAN = 1024
"""Samples searched for a period around the middle of a frame: two periods of 32 Hz at 16 kHz."""
_CHUNK = 1500
"""Frames searched at once; YIN looks at each frame alone, so this bounds memory only."""
_VOICED = 0.45
_SILENT = 0.03
"""Voicing and silence thresholds of Boersma, "Accurate short-term analysis of the fundamental
frequency", IFA Proceedings 17, 1993 (Praat's defaults)."""


def pitch(samples: NDArray[np.float32], rate: int, method: str, fmin: float, fmax: float) -> Pitch:
    """f0 in Hz, NaN where unvoiced, and whether voiced (0 or 1), shape (n_frames,) each.

    Args:
        samples: mono sound, at least 400 samples.
        rate: its rate, Hz.
        method: a name in ``PITCH``.
        fmin: lowest pitch, Hz.
        fmax: highest pitch, Hz.
    """
    margin = (_SPAN - FRAME) // 2
    padded = np.pad(samples, margin)
    n_frames = frames_in(samples.size)
    return PITCH[method](padded[: (n_frames - 1) * HOP + _SPAN], rate, fmin, fmax)


def _yin(padded: NDArray[np.float32], rate: int, fmin: float, fmax: float) -> Pitch:
    """YIN, voiced where the frame repeats itself after the period that it finds.

    De Cheveigné and Kawahara, "YIN, a fundamental frequency estimator for speech and music",
    JASA 111(4), 2002. YIN names a period for every frame. A frame counts as voiced if its
    normalised cross-correlation at that period reaches 0.45 and its peak reaches 0.03 of the
    clip's.
    """
    import librosa

    frames = np.lib.stride_tricks.sliding_window_view(padded, _SPAN)[::HOP]
    f0 = np.empty(len(frames))
    for begin in range(0, len(frames), _CHUNK):
        end = min(begin + _CHUNK, len(frames))
        part = padded[begin * HOP : (end - 1) * HOP + _SPAN]
        f0[begin:end] = librosa.yin(
            part, fmin=fmin, fmax=fmax, sr=rate, frame_length=_SPAN, hop_length=HOP, center=False
        )
    floor = _SILENT * float(np.abs(padded).max())
    lags = np.rint(rate / f0).astype(int)
    voiced = np.array(
        [
            np.abs(frame).max() >= floor and _repeats(frame, lag) >= _VOICED
            for frame, lag in zip(frames, lags, strict=True)
        ]
    )
    return np.where(voiced, f0, np.nan), voiced.astype(np.float64)


def _repeats(frame: NDArray[np.float32], lag: int) -> float:
    """Normalised cross-correlation of a frame with itself ``lag`` samples later, -1 to 1."""
    early, late = frame[:-lag], frame[lag:]
    energy = float(early @ early) * float(late @ late)
    return float(early @ late) / float(np.sqrt(energy)) if energy > 0 else 0.0


def _pyin(padded: NDArray[np.float32], rate: int, fmin: float, fmax: float) -> Pitch:
    """Probabilistic YIN: Mauch and Dixon, "pYIN", ICASSP 2014, with librosa's defaults."""
    import librosa

    f0, voiced, _ = librosa.pyin(
        padded, fmin=fmin, fmax=fmax, sr=rate, frame_length=_SPAN, hop_length=HOP, center=False
    )
    return f0, voiced.astype(np.float64)


PITCH: dict[str, Callable[[NDArray[np.float32], int, float, float], Pitch]] = {
    "yin": _yin,
    "pyin": _pyin,
}
