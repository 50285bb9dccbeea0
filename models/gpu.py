"""Whether this process can compute on its GPU."""

from __future__ import annotations

import sys


def gpu_trouble() -> str:
    """Why this process cannot compute on its GPU; empty if it can."""
    import torch

    try:
        torch.ones(2, 2, device="cuda").mm(torch.ones(2, 2, device="cuda")).cpu()
    except (RuntimeError, AssertionError) as error:  # the latter by a torch without CUDA
        return " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
    return ""


def is_gpu_lost() -> bool:
    """Whether this process can no longer compute on its GPU.

    After an illegal access or a hardware error every later call to CUDA fails, until the process
    ends.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False
