"""Workers that hang end themselves: native code cannot be interrupted."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

HUNG = 86
"""Exit code of a worker that ended itself: a clip took too long, or its GPU is lost."""

LAST_WORDS = 2.0
"""Seconds that such a worker has to say so."""

T = TypeVar("T")

logger = logging.getLogger("meldflow.stages")

_of_thread = threading.local()


class HungError(Exception):
    """A batch took too long, or its GPU is lost; the worker that it hangs on ends itself."""


def in_time(work: Callable[[], T], seconds: float | None) -> T:
    """What ``work`` gives; native code that hangs cannot be interrupted, so the process ends then.

    Raises:
        HungError: it takes longer.
    """
    if seconds is None:
        return work()
    runner: ThreadPoolExecutor | None = getattr(_of_thread, "runner", None)
    if runner is None:
        runner = _of_thread.runner = ThreadPoolExecutor(1, "encode")
    future = runner.submit(work)
    if not wait([future], seconds).done:
        raise ending(f"a batch takes more than {seconds:g} s")
    return future.result()


def ending(why: str) -> HungError:
    """What to raise; the worker ends itself a little later."""
    logger.error("%s: the worker ends itself", why)
    threading.Timer(LAST_WORDS, os._exit, (HUNG,)).start()
    return HungError(why)
