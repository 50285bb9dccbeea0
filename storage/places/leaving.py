"""A process that used a store ends well.

Icechunk's own threads wake Zarr's event loop with every answer, in Python code. Up to Python 3.13,
a thread that comes back for the interpreter's lock while the interpreter ends is unwound through
Icechunk's Rust frames, which aborts the process: the work is done, the exit code is -6. From 3.14
on such a thread hangs instead (https://github.com/python/cpython/issues/87135).
"""

import atexit
import sys
import threading
import time

AT_MOST = 2.0
"""Seconds that the end of a process waits for such threads."""

_A_LOOK = 0.002
"""Seconds between two looks. The interpreter's lock is free meanwhile for whoever waits for it."""


def _foreign() -> set[int]:
    """Threads in Python code that Python did not start."""
    started = (one for one in threading.enumerate() if not isinstance(one, threading._DummyThread))
    return set(sys._current_frames()) - {thread.ident for thread in started}


def _let_them_finish() -> None:
    deadline = time.monotonic() + AT_MOST
    alone = 0
    while alone < 2 and time.monotonic() < deadline:  # one may just have waited for the lock
        time.sleep(_A_LOOK)
        alone = 0 if _foreign() else alone + 1


def end_well() -> None:
    """Lets Icechunk's threads finish before the interpreter ends; called once, at import."""
    if sys.version_info < (3, 14):
        atexit.register(_let_them_finish)
