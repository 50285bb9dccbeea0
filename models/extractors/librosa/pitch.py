"""Fundamental frequency and voicing on the grid of speech frames."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from meldflow.models.extractors.grid import FRAME, HOP, frames_in
from meldflow.models.extractors.librosa.autocorrelation import autocorrelation

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
