"""How far two contours of pitch agree.

The figures are those of Rabiner et al., "A comparative performance study of several pitch detection
algorithms", IEEE Trans. ASSP 24(5), 1976: voicing errors in both directions, gross and fine errors
of the pitch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

GROSS_SHARE = 0.2
"""A pitch that is further off is a gross error."""

Contour = NDArray[np.float64]
"""f0 of every frame, Hz, NaN where unvoiced, shape (n_frames,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far a contour is from another one, the reference; shares are NaN of nothing."""

    frames: int
    """Frames that were compared."""
    voicing: float
    """Share of frames on whose voicing the two differ."""
    missed: float
    """Among frames that are voiced in the reference, the share of those that are not here."""
    invented: float
    """Among frames that are unvoiced in the reference, the share of those that are voiced here."""
    gross: float
    """Among frames that are voiced in both, the share of those more than 20 % off."""
    cents: float
    """Their median distance, cents."""
    mean: float
    """Mean f0 here over that of the reference."""


def agreement(found: Contour, reference: Contour, judged: NDArray[np.bool_]) -> Agreement:
    """Compares contours on the frames that are ``judged``; all have shape (n_frames,)."""
    found, reference = found[judged], reference[judged]
    here, there = ~np.isnan(found), ~np.isnan(reference)
    ratio = found[here & there] / reference[here & there]
    return Agreement(
        frames=len(found),
        voicing=_share(here != there),
        missed=_share(~here[there]),
        invented=_share(here[~there]),
        gross=_share(np.abs(ratio - 1) > GROSS_SHARE),
        cents=float(np.median(1200 * np.abs(np.log2(ratio)))) if ratio.size else float("nan"),
        mean=_mean(found[here]) / _mean(reference[there]),
    )


def _share(which: NDArray[np.bool_]) -> float:
    return float(which.mean()) if which.size else float("nan")


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean()) if values.size else float("nan")
