"""How loaded the workers are, over time: bounded, however long a run and however many workers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

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


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadTable:
    """The same as tables, a row per time and a column per worker.

    By NumPy: pandas would take 69 MB of the process of a run, for good.
    """

    seconds: NDArray[np.float64]
    """Since the start of the run, shape (times,)."""
    workers: Sequence[str]
    """As people count, the scheduler first."""
    measures: Mapping[str, NDArray[np.float32]]
    """Measure → shape (times, workers); NaN where a worker was not there."""

    @classmethod
    def of(cls, columns: Mapping[str, NDArray[np.generic]]) -> Self:
        """That of ``LoadSeries.columns``; nothing is one of no times."""
        given: dict[str, Any] = dict.fromkeys(("seconds", "worker", *MEASURES), ()) | dict(columns)
        seconds, rows = np.unique(np.asarray(given["seconds"], float), return_inverse=True)
        workers = in_order(set(given["worker"]))
        place = {name: number for number, name in enumerate(workers)}
        at = [place[name] for name in given["worker"]]
        measures = {}
        for name in MEASURES:
            table = measures[name] = np.full((len(seconds), len(workers)), np.nan, np.float32)
            table[rows, at] = given[name]
        return cls(seconds=seconds, workers=workers, measures=measures)

    def __getitem__(self, measure: str) -> NDArray[np.float32]:
        return self.measures[measure]

    @property
    def own(self) -> Self:
        """Without the scheduler, and without times at which it was alone."""
        kept = [number for number, name in enumerate(self.workers) if name != SCHEDULER]
        there = ~np.isnan(self["cpu"][:, kept]).all(axis=1)
        return type(self)(
            seconds=self.seconds[there],
            workers=[self.workers[number] for number in kept],
            measures={name: table[there][:, kept] for name, table in self.measures.items()},
        )


def in_order(workers: Iterable[str]) -> list[str]:
    """Names of workers as people count, the scheduler first."""
    return sorted(workers, key=lambda name: (name != SCHEDULER, len(name), name))
