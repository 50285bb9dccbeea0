"""Tries of a partition: which failure another one may mend, and how long it waits for it."""

import random
import re
from concurrent.futures import CancelledError

from distributed.scheduler import KilledWorker

from meldflow.models.schema.errors import MeldflowError
from meldflow.storage.places.patience import FAULTS
from meldflow.tasks.extraction.hanging import HungError

RETRIES = 6
"""Tries after the first, 2, 4, 8, 16, 32 and 64 s apart, and up to half as much again: a store or
a network that is away for a minute costs no run."""

COSTLY = (KilledWorker, HungError, MemoryError)
"""What a batch ends in that has a clip too bad for a worker: it is encoded apart."""

PASSING = (CancelledError, *COSTLY, *FAULTS)
STAYING = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)


def may_pass(error: BaseException) -> bool:
    """Whether it comes of a network, a disk or a worker that may be well again in a minute."""
    return isinstance(error, PASSING) and not isinstance(error, STAYING)


def retries(error: object) -> int:
    """How often a partition that ended in this is tried again.

    What we ourselves say is wrong, never. A mistake in a program, once: one worker may have it.
    """
    if isinstance(error, MeldflowError):
        return 0
    return RETRIES if isinstance(error, BaseException) and may_pass(error) else 1


def pause(number: int) -> float:
    """Seconds between try ``number``, the first is 1, and the next; not the same for everybody."""
    return 2.0**number * random.uniform(1.0, 1.5)


def cause(error: object) -> str:
    """An error in one line."""
    line = str(error).strip().partition("\n")[0]
    return line if isinstance(error, MeldflowError) else f"{type(error).__name__}: {line}"


def alike(one: str, other: str) -> bool:
    """Whether two causes are the same but for numbers in them."""
    return re.sub(r"\d+", "", one) == re.sub(r"\d+", "", other)
