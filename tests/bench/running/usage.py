"""What processes cost: CPU of whole process trees, and the most memory they held."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import psutil

SAMPLE_SECONDS = 0.25

CLOSER = 1.02
"""How much more than before processes have to hold to be looked at closely. That takes 20 ms of CPU
per worker, and holds it up meanwhile."""

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

    Libraries are counted once, although every process has them in its resident set (``_own_mb``).
    Processes may be added to ``watched`` meanwhile. Sampled: a peak shorter than a quarter of a
    second may be missed, and the last 2 %.
    """
    found: dict[str, float] = {}
    resident: dict[str, float] = {}

    def sample() -> None:
        for name, processes in tuple(watched.items()):
            now = _resident_mb(processes)
            if now > CLOSER * resident.get(name, 0.0):
                resident[name] = now
                found[name] = max(found.get(name, 0.0), _own_mb(processes))

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
    return _sum_mb(processes, lambda one: int(one.memory_info().rss))


def _own_mb(processes: Sequence[psutil.Process]) -> float:
    """Linux's proportional set size: a page that n processes share is 1/n of a page to each."""
    return _sum_mb(processes, _proportional)


def _proportional(process: psutil.Process) -> int:
    try:
        found = process.memory_full_info()
    except psutil.AccessDenied:  # somebody else's
        found = process.memory_info()
    return int(getattr(found, "pss", found.rss))


def _sum_mb(processes: Sequence[psutil.Process], held: Callable[[psutil.Process], int]) -> float:
    total = 0
    for process in processes:
        for one in family(process):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += held(one)
    return total / 2**20
