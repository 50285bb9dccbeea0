"""The grid of speech frames: 25 ms every 20 ms at 16 kHz."""

FRAME = 400
"""Samples that one frame sees."""
HOP = 320
"""Samples from one frame to the next."""


def frames_in(n_samples: int) -> int:
    """Frames that fit into ``n_samples`` samples."""
    return max(0, (n_samples - FRAME) // HOP + 1)
