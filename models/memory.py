"""What can be done about memory that networks hold without needing it."""

from __future__ import annotations

import gc
import sys


def release_memory() -> None:
    """Gives back what torch keeps for later, after a batch did not fit; imports nothing."""
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
