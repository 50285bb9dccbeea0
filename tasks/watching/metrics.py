"""Our metrics for Prometheus, on the page where Dask's scheduler serves its own.

They live in the scheduler's process, because it is the one address that is known and that outlives
a run. Counters start from zero with the scheduler, as Prometheus expects.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meldflow.tasks.watching.load import WorkerLoad

Increment: TypeAlias = tuple[str, tuple[str, ...], float]
"""Name of a counter, values of its labels, how much it grew."""

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "features": (
        "Features that are in a run's transaction, by extractor and outcome (ok, failed).",
        ("extractor", "outcome"),
    ),
    "failures": (
        "Utterances without a feature, by extractor and reason.",
        ("extractor", "reason"),
    ),
    "partitions": (
        "Partitions merged, tries of a partition after its first (retried), and batches that were "
        "encoded apart because they killed workers.",
        ("event",),
    ),
    "stage_seconds": ("Seconds that workers spent on a stage, over all utterances.", ("stage",)),
    "written_bytes": ("Compressed bytes of features that workers wrote.", ()),
}
"""Name, without ``meldflow_`` before and ``_total`` after it → what it counts, its labels."""

GAUGES = {
    "cpu": ("worker_cpu_percent", "CPU that a worker and its children use, per cent of a core."),
    "memory": ("worker_memory_bytes", "Memory of a worker and its children, bytes."),
    "executing": ("worker_executing", "Tasks that a worker is at."),
    "waiting": ("worker_waiting", "Tasks that a worker has still to do."),
}
"""Field of a load → name without ``meldflow_`` before it, what it is."""


def count(increments: Iterable[Increment]) -> None:
    """Adds to the counters of this process."""
    counters = _counters()
    for name, labels, amount in increments:
        counter = counters[name]
        (counter.labels(*labels) if labels else counter).inc(amount)


def serve(loads: Callable[[], Sequence[WorkerLoad]]) -> None:
    """Lets this process's page show the load of the workers, asked for anew at each look."""
    _workers().loads = loads


class _Workers(Collector):
    loads: Callable[[], Sequence[WorkerLoad]] = staticmethod(lambda: ())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self.loads()
        for field, (name, what) in GAUGES.items():
            family = GaugeMetricFamily(f"meldflow_{name}", what, labels=["worker"])
            for one in now:
                family.add_metric([one.worker], getattr(one, field))
            yield family


@functools.cache
def _counters() -> dict[str, Counter]:
    return {
        name: Counter(f"meldflow_{name}", what, labels) for name, (what, labels) in COUNTERS.items()
    }


@functools.cache
def _workers() -> _Workers:
    collector = _Workers()
    REGISTRY.register(collector)
    return collector
