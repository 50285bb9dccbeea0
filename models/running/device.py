"""Whether this process can compute on its GPU."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import sys


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory did not suffice, a GPU's too; torch has a kind of its own."""
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )


def release_memory() -> None:
    """Gives back what torch and the C library keep for later; imports nothing.

    After a batch that did not fit, and after a network was loaded, whose weights have been in
    memory several times.
    """
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with contextlib.suppress(AttributeError, OSError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)


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
