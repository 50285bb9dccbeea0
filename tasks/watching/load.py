"""How loaded the workers are, over time: bounded, however long a run and however many workers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_ROWS = 65_536
"""Times times workers that are kept; with more, the times are made half as fine."""

MAX_WORKERS = 1_000
"""Workers that are told apart by name; those that come later are added up."""

OTHERS = "others"
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


class LoadSeries:
    """Loads by time and worker, in bins whose width doubles whenever they are too many."""

    def __init__(self, seconds: float, max_rows: int = MAX_ROWS) -> None:
        """Starts with bins of ``seconds``."""
        self.seconds = seconds
        """Width of a bin."""
        self._max = max_rows
        self._lock = threading.Lock()
        self._index: dict[str, int] = {}
        # Columns: time, worker, number of samples, and the sums of the measures.
        self._rows = np.empty((0, 3 + len(MEASURES)))
        self._new: list[tuple[float, ...]] = []

    def add(self, seconds: float, loads: Iterable[WorkerLoad]) -> None:
        """Adds what was seen ``seconds`` after the start of the run."""
        sums: dict[int, NDArray[np.float64]] = {}
        for one in loads:
            measures = np.array([one.cpu, one.memory, one.executing, one.waiting], dtype=np.float64)
            worker = self._worker(one.worker)
            sums[worker] = sums.get(worker, 0.0) + measures
        with self._lock:
            self._new += [(seconds, worker, 1.0, *row) for worker, row in sums.items()]
            if len(self._rows) + len(self._new) > self._max:
                self._make_room()

    @property
    def workers(self) -> int:
        """Workers seen so far."""
        return len(self._index)

    def columns(self) -> dict[str, NDArray[np.generic]]:
        """``seconds`` since the start, ``worker``, and the means of the measures, shape (n,).

        Sorted by time, then by worker, in the order in which they were first seen.
        """
        with self._lock:
            self._merge()
        names = np.array([*self._index, ""], dtype=object)
        time, worker, number, *sums = self._rows.T
        means = {
            name: (one / number).astype(np.float32)
            for name, one in zip(MEASURES, sums, strict=True)
        }
        return {
            "seconds": (np.floor(time / self.seconds) * self.seconds).astype(np.float32),
            "worker": names[worker.astype(np.intp)],
            **means,
        }

    def _worker(self, name: str) -> int:
        if name not in self._index and len(self._index) >= MAX_WORKERS:
            name = OTHERS
        return self._index.setdefault(name, len(self._index))

    def _make_room(self) -> None:
        self._merge()
        while len(self._rows) > self._max // 2 and self._rows[-1, 0] >= self.seconds:
            self.seconds *= 2
            self._merge()

    def _merge(self) -> None:
        """Adds up what lies in the same bin."""
        new = np.array(self._new, dtype=np.float64).reshape(-1, self._rows.shape[1])
        rows = np.concatenate([self._rows, new])
        self._new = []
        bins = np.floor(rows[:, 0] / self.seconds)
        keys, place = np.unique(np.stack([bins, rows[:, 1]], axis=1), axis=0, return_inverse=True)
        merged = np.zeros((len(keys), rows.shape[1]))
        merged[:, 0] = keys[:, 0] * self.seconds
        merged[:, 1] = keys[:, 1]
        np.add.at(merged[:, 2:], place.ravel(), rows[:, 2:])
        self._rows = merged
