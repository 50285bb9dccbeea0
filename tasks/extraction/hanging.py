"""What hangs: workers end themselves, since native code cannot be interrupted."""

import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

from distributed import Scheduler, Status, get_worker

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
    with contextlib.suppress(ValueError):  # not on a worker
        worker = get_worker()
        worker.log_event(worker.address, {"action": "closing-worker", "reason": why})
    threading.Timer(LAST_WORDS, os._exit, (HUNG,)).start()
    return HungError(why)


def is_stuck(mark: str, seconds: float, dask_scheduler: Scheduler | None = None) -> bool:
    """Whether a task has been executed for so long, or nobody can execute any.

    Asked on the scheduler, of tasks whose keys contain ``mark``. A worker whose memory is full is
    alive, and begins none.
    """
    assert dask_scheduler is not None
    tasks = [one for key, one in dask_scheduler.tasks.items() if mark in str(key)]
    on = [(one, one.processing_on) for one in tasks if one.processing_on]
    on = [(one, ws) for one, ws in on if one in ws.executing or ws.status == Status.running]
    at_it = [ws.executing.get(one, 0.0) for one, ws in on]
    return max(at_it, default=seconds + 1) > seconds and not any(
        one.state == "queued" for one in tasks
    )
