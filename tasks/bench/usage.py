"""What processes cost: CPU of whole process trees, and the most memory they held."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence

import psutil

SAMPLE_SECONDS = 0.25


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


@contextlib.contextmanager
def peaks(watched: Mapping[str, Sequence[psutil.Process]]) -> Iterator[dict[str, float]]:
    """Name → the most memory that those processes held together inside the block, MB.

    Processes may be added to ``watched`` meanwhile. Sampled: a peak shorter than a quarter of a
    second may be missed.
    """
    found: dict[str, float] = {}
    over = threading.Event()

    def sample() -> None:
        while True:
            for name, processes in tuple(watched.items()):
                found[name] = max(found.get(name, 0.0), _resident_mb(processes))
            if over.wait(SAMPLE_SECONDS):
                return

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield found
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
