"""How loud a clip is to a listener."""

import math

import numpy as np
from numpy.typing import NDArray

BLOCK = 0.4
"""Seconds that the measure looks at together; what is shorter has no loudness."""


def loudness(samples: NDArray[np.float32], rate: int) -> float:
    """Integrated loudness of mono samples by ITU-R BS.1770-4, LUFS; -23 is usual on television.

    torchaudio's filters differ from the standard's by up to 0.3 LU. NaN for sound of less than
    ``BLOCK`` seconds, or that is silent throughout.
    """
    if samples.size < BLOCK * rate:
        return math.nan
    import torch
    from torchaudio.functional import loudness as measured

    return float(measured(torch.from_numpy(samples)[None], rate))
