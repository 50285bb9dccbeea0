"""The methods that are compared: ours, and two that share no code with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import parselmouth
from numpy.typing import NDArray

from meldflow.models.extractors.grid import FRAME, HOP, frames_in
from meldflow.models.extractors.librosa.pitch import PITCH
from tests.bench.pitch.contours import Contour

RATE = 16_000
"""Of all sounds here, Hz."""
FMIN, FMAX = 60.0, 600.0
"""Range of pitch, Hz: that of ``audio/librosa`` by default."""

OURS, PYIN, PRAAT = "autocorrelation", "pyin", "praat"


def praat(samples: NDArray[np.float32]) -> Contour:
    """Praat's "To Pitch (ac)" with its defaults, at the middles of our frames."""
    window = round(3 * RATE / FMIN)
    n_frames = frames_in(samples.size)
    # Praat centres its frames in the sound: with so many samples they lie where ours do.
    size = window + HOP * (n_frames - 1) + 1
    padded = np.zeros(size)
    before = (window - FRAME) // 2
    heard = samples[: size - before]
    padded[before : before + heard.size] = heard
    pitch = parselmouth.Sound(padded, RATE).to_pitch_ac(
        time_step=HOP / RATE, pitch_floor=FMIN, pitch_ceiling=FMAX
    )
    f0 = pitch.selected_array["frequency"]
    if len(f0) != n_frames:
        raise AssertionError(f"Praat made {len(f0)} frames of {n_frames}")
    return np.where(f0 > 0, f0, np.nan)


def _of(method: str) -> Callable[[NDArray[np.float32]], Contour]:
    return lambda samples: PITCH[method](samples, RATE, FMIN, FMAX)


METHODS: Mapping[str, Callable[[NDArray[np.float32]], Contour]] = {
    OURS: _of(OURS),
    PYIN: _of(PYIN),
    PRAAT: praat,
}
"""Mono sound of RATE → f0 on the grid of frames."""
