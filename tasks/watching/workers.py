"""What the sampling runs on the scheduler and on the workers.

A worker's clips are decoded, and sometimes encoded, in child processes, which Dask does not count.

Our metrics for Prometheus live in the scheduler's process, on the page where it serves its own: it
is the one address that is known and that outlives a run. Counters start from zero with the
scheduler, as Prometheus expects.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import psutil
from distributed import WorkerPlugin
from prometheus_client import REGISTRY, Counter
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from meldflow.tasks.watching.load import SCHEDULER, WorkerLoad

if TYPE_CHECKING:
    from distributed import Scheduler, Worker

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
        "Partitions merged, tries of a partition after its first, by us or by Dask (retried), and "
        "batches that were encoded apart because they killed workers.",
        ("event",),
    ),
    "lost_workers": ("Workers of a run that were killed, crashed, or went silent.", ()),
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

CPU, MEMORY, LOADING = "cpu_with_children", "memory_with_children", "loading"
"""Names of the metrics that a worker sends with its heartbeat: per cent of a core, bytes, names."""

MEASURE_SECONDS = 2.0
"""Heartbeats come twice a second; looking for children costs a few milliseconds."""


def exchange(
    increments: Sequence[Increment], dask_scheduler: Scheduler | None = None
) -> list[WorkerLoad]:
    """Counts what happened in the metrics of the scheduler, and gives the load of its workers."""
    assert dask_scheduler is not None
    _gauges().loads = lambda: worker_loads(dask_scheduler)
    for name, labels, amount in increments:
        counter = _counters()[name]
        (counter.labels(*labels) if labels else counter).inc(amount)
    return [*worker_loads(dask_scheduler), _own_load(dask_scheduler)]


class _Gauges(Collector):
    """The load of the workers, looked up anew whenever somebody looks at the page."""

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
def _gauges() -> _Gauges:
    collector = _Gauges()
    REGISTRY.register(collector)
    return collector


def worker_loads(scheduler: Scheduler) -> list[WorkerLoad]:
    """What the workers' last heartbeats said, by name."""
    loads = []
    for worker in list(scheduler.workers.values()):
        metrics: dict[str, Any] = worker.metrics
        executing = len(worker.executing)
        loads.append(
            WorkerLoad(
                worker=str(worker.name),
                cpu=float(metrics.get(CPU, metrics.get("cpu", 0.0))),
                memory=float(metrics.get(MEMORY, metrics.get("memory", 0.0))),
                executing=executing,
                waiting=max(0, len(worker.processing) - executing),
                loading=metrics.get(LOADING, ()),
            )
        )
    return sorted(loads, key=lambda one: (len(one.worker), one.worker))


def _own_load(scheduler: Scheduler) -> WorkerLoad:
    """The scheduler's process, which may be that of the run, and what it can give to no worker."""
    recent = scheduler.monitor.recent()
    waiting = len(scheduler.queued) + len(scheduler.unrunnable)
    return WorkerLoad(
        worker=SCHEDULER,
        cpu=recent.get("cpu", 0.0),
        memory=recent.get("memory", 0.0),
        executing=0,
        waiting=waiting,
    )


class MeasureChildren(WorkerPlugin):
    """Adds to every heartbeat what the worker and its children use together."""

    name = "meldflow-measure-children"

    def setup(self, worker: Worker) -> None:
        """Called once per worker; those that share a process share its figures."""
        from meldflow.tasks.extraction.ready import UNDER_WAY  # heavy, and no scheduler's business

        worker.metrics[CPU] = lambda _: _own_tree().measure()[0]
        worker.metrics[MEMORY] = lambda _: _own_tree().measure()[1]
        worker.metrics[LOADING] = lambda _: sorted(UNDER_WAY)


class _Tree:
    """A process and its children, measured now and then."""

    def __init__(self) -> None:
        self._root = psutil.Process()
        self._known: dict[int, psutil.Process] = {}
        self._measured = 0.0
        self._last = (0.0, 0.0)

    def measure(self) -> tuple[float, float]:
        """Per cent of a core since the last time, and bytes now."""
        if time.monotonic() - self._measured > MEASURE_SECONDS:
            self._measured = time.monotonic()
            found = [self._root, *self._root.children(recursive=True)]
            # psutil measures since the last call on the same object.
            self._known = {one.pid: self._known.get(one.pid, one) for one in found}
            measured = [_measure(one) for one in self._known.values()]
            cpu, memory = (sum(column) for column in zip(*measured, strict=True))
            self._last = (cpu, memory)
        return self._last


@functools.cache
def _own_tree() -> _Tree:
    """This process and its children, measured once for all workers in it."""
    return _Tree()


def _measure(process: psutil.Process) -> tuple[float, float]:
    try:
        return process.cpu_percent(), float(process.memory_info().rss)
    except psutil.Error:  # it ended
        return 0.0, 0.0
