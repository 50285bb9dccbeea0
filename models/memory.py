"""What can be done about memory that networks hold without needing it."""

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
