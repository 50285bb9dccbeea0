"""The grid of speech frames, and long clips cut into overlapping windows on it.

wav2vec 2.0 gives one frame per 320 samples (20 ms at 16 kHz), each seeing 400 samples
(25 ms) and none beyond the end, so frame i is about samples [320 i, 320 i + 400). The
acoustic descriptors use the same grid: their rows stand beside wav2vec 2.0's.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from meldflow.models.extractors.grid import FRAME, HOP, frames_in


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of a clip that goes through the network at once."""

    clip: int
    """Position of the clip among those encoded."""
    first: int
    """Its first frame on the clip's grid."""
    samples: NDArray[np.float32]
    """Shape (n_samples,)."""


def windows(clip: int, samples: NDArray[np.float32], length: int, overlap: int) -> list[Window]:
    """The clip as one window, or as windows of ``length`` frames if it has more.

    They start every ``length - overlap`` frames; the last one is moved back so that it ends
    with the clip, and so is as long as the others.
    """
    total = frames_in(samples.size)
    if total <= length:
        return [Window(clip, 0, samples)]
    starts = [*range(0, total - length, length - overlap), total - length]
    size = (length - 1) * HOP + FRAME
    return [Window(clip, one, samples[one * HOP : one * HOP + size]) for one in starts]


def stitch(parts: list[tuple[Window, NDArray[np.float32]]]) -> NDArray[np.float32]:
    """All frames of a clip, shape (n_frames, size).

    Where two windows overlap, frames before the middle of the overlap come from the earlier
    one and the others from the later one: each from where it has more context.
    """
    parts = sorted(parts, key=lambda part: part[0].first)
    ends = [
        (later.first + window.first + len(frames)) // 2
        for (window, frames), (later, _) in pairwise(parts)
    ]
    window, frames = parts[-1]
    edges = [0, *ends, window.first + len(frames)]
    pieces = [
        frames[begin - window.first : end - window.first]
        for (window, frames), (begin, end) in zip(parts, pairwise(edges), strict=True)
    ]
    return np.concatenate(pieces)
