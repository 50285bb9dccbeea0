"""What processes cost: CPU of whole process trees, and the most memory they held."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import psutil

SAMPLE_SECONDS = 0.25

TRACE_SECONDS = 1.0
"""Between two looks at CPU times; a look costs some milliseconds per process."""


def family(process: psutil.Process) -> list[psutil.Process]:
    """The process and all that came of it, as far as they live."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return [process, *process.children(recursive=True)]
    return []


def cpu_seconds(processes: Sequence[psutil.Process]) -> float:
    """CPU time that the processes and their children, ended ones included, have taken so far."""
    spent = 0.0
    for process in processes:
        for one in family(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = one.cpu_times()
                ended = getattr(times, "children_user", 0.0) + getattr(
                    times, "children_system", 0.0
                )
                spent += times.user + times.system + ended
    return spent


def descendants(processes: Sequence[psutil.Process], word: str) -> list[psutil.Process]:
    """What came of the processes and has ``word`` in its command line."""
    found = []
    for process in processes:
        for one in family(process)[1:]:
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
                if word in one.cmdline():
                    found.append(one)
    return found


@contextlib.contextmanager
def peaks(watched: Mapping[str, Sequence[psutil.Process]]) -> Iterator[dict[str, float]]:
    """Name → the most memory that those processes held together inside the block, MB.

    Processes may be added to ``watched`` meanwhile. Sampled: a peak shorter than a quarter of a
    second may be missed.
    """
    found: dict[str, float] = {}

    def sample() -> None:
        for name, processes in tuple(watched.items()):
            found[name] = max(found.get(name, 0.0), _resident_mb(processes))

    with _every(SAMPLE_SECONDS, sample):
        yield found


class Trace:
    """CPU times of processes, by the clock."""

    def __init__(self) -> None:
        self._times: list[float] = []
        self._spent: dict[str, list[float]] = {}

    def cores(self, start: float, stop: float) -> dict[str, float]:
        """Name → cores that its processes took on average.

        Args:
            start: seconds since the epoch.
            stop: the same, later.
        """
        bounds = (start, stop)
        spent = {name: np.interp(bounds, self._times, one) for name, one in self._spent.items()}
        return {
            name: float(after - before) / (stop - start) for name, (before, after) in spent.items()
        }

    def look(self, watched: Mapping[str, Sequence[psutil.Process]]) -> None:
        """Notes what they have taken so far; one that is new has taken nothing before.

        What has ended meanwhile counts on, as it was last.
        """
        self._times.append(time.time())
        for name, processes in tuple(watched.items()):
            known = self._spent.setdefault(name, [0.0] * (len(self._times) - 1))
            known.append(max(cpu_seconds(tuple(processes)), known[-1] if known else 0.0))


@contextlib.contextmanager
def traced(watched: Mapping[str, Sequence[psutil.Process]]) -> Iterator[Trace]:
    """Follows the CPU times of ``watched``, to which processes may be added, inside the block."""
    trace = Trace()
    try:
        with _every(TRACE_SECONDS, lambda: trace.look(watched)):
            yield trace
    finally:
        trace.look(watched)


@contextlib.contextmanager
def _every(seconds: float, look: Callable[[], None]) -> Iterator[None]:
    """Looks at once and then every so often, in a thread of its own, inside the block."""
    over = threading.Event()

    def follow() -> None:
        while True:
            look()
            if over.wait(seconds):
                return

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _resident_mb(processes: Sequence[psutil.Process]) -> float:
    held = 0
    for process in processes:
        for one in family(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                held += one.memory_info().rss
    return held / 2**20
