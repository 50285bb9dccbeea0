"""How loaded the workers are, over time: bounded, however long a run and however many workers."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 65_536
"""Times times workers that are kept; with more, every other time is left out."""

SCHEDULER = "scheduler"
"""What the scheduler is called among the workers."""

MEASURES = ("cpu", "memory", "executing", "waiting")


@dataclass(frozen=True, slots=True)
class WorkerLoad:
    """How loaded a worker is, its children included."""

    worker: str
    cpu: float
    """Per cent of one core."""
    memory: float
    """Bytes."""
    executing: int
    """Tasks it is at."""
    waiting: int
    """Tasks that it has still to do."""
    loading: Sequence[str] = ()
    """Extractors whose networks it is loading."""


class LoadSeries:
    """Loads by time and worker; whenever they are too many, every other time is left out."""

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self._max = max_rows
        self._looks: list[tuple[float, Sequence[WorkerLoad]]] = []
        self._every, self._seen = 1, 0

    def add(self, seconds: float, loads: Sequence[WorkerLoad]) -> None:
        """Adds what was seen ``seconds`` after the start of the run."""
        if self._seen % self._every == 0:
            self._looks.append((seconds, loads))
        self._seen += 1
        while len(self._looks) > 1 and sum(len(one) for _, one in self._looks) > self._max:
            self._looks = self._looks[::2]
            self._every *= 2

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """``seconds`` since the start, ``worker`` and the measures, shape (n,), by time."""
        # A copy: one thread alone adds, but may be at it still when a run has ended.
        rows = [(seconds, one) for seconds, loads in list(self._looks) for one in loads]
        return {
            "seconds": np.array([seconds for seconds, _ in rows], dtype=np.float32),
            "worker": np.array([one.worker for _, one in rows], dtype=object),
        } | {
            name: np.array([getattr(one, name) for _, one in rows], dtype=np.float32)
            for name in MEASURES
        }
