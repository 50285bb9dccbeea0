"""What workers tell a run: their log records, and by the scheduler, that they are lost."""

import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Any

from distributed import Client, Scheduler, SchedulerPlugin, WorkerPlugin
from prefect.logging.handlers import APILogHandler
from prefect.runtime import flow_run

from meldflow.tasks.cluster.connection import Cluster

LOGGER = "meldflow"
"""Name of the logger that all code on the workers logs below."""

LOSSES = "meldflow-losses"
"""Dask's event topic on which the scheduler tells of workers that are lost."""


@contextlib.contextmanager
def worker_logs(cluster: Cluster) -> Iterator[None]:
    """Sends what workers log below ``meldflow`` to the flow run that is current here."""
    handler, flow_run_id = APILogHandler(), flow_run.id

    def stamp(record: logging.LogRecord) -> bool:
        record.flow_run_id = flow_run_id  # a worker knows none, and Prefect drops what has none
        return True

    handler.addFilter(stamp)
    logger = logging.getLogger(LOGGER)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    cluster.on_join(_forward)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _forward(client: Client) -> None:
    client.register_plugin(_LetInfoThrough())
    client.forward_logging(LOGGER, level=logging.INFO)


class _LetInfoThrough(WorkerPlugin):
    """Sets the level on every worker, also on one that joins or is restarted later."""

    name = "meldflow-log-level"

    def setup(self, worker: object) -> None:
        logging.getLogger(LOGGER).setLevel(logging.INFO)


def watch_losses(cluster: Cluster, tell: Callable[[str, str, list[str]], None]) -> None:
    """Calls ``tell`` whenever a worker is lost; one that was told to go is not.

    It gets the worker's name, why it is gone, and the keys of what others have to do instead.
    """

    def subscribe(client: Client) -> None:
        client.register_plugin(_Losses())
        client.subscribe_topic(LOSSES, lambda event: tell(*event[1]))

    cluster.on_join(subscribe)


class _Losses(SchedulerPlugin):
    """Tells the clients, since only the scheduler knows what a worker was about."""

    name = LOSSES
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        self._names = {address: str(one.name) for address, one in scheduler.workers.items()}

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Its name is not known any more once it is gone."""
        self._names[worker] = str(scheduler.workers[worker].name)

    def remove_worker(
        self, scheduler: Scheduler, worker: str, *, stimulus_id: str, **_: Any
    ) -> None:
        """Whatever it came by, what it had to do was given to others already."""
        name = self._names.pop(worker, worker)
        last = _last(scheduler, worker, "remove-worker")
        tasks = sorted({str(key) for key in last["processing-tasks"] | last["lost-computed-tasks"]})
        closed = _last(scheduler, worker, "closing-worker").get("reason")
        if last["expected"] or (closed and not tasks):
            return
        why = closed or "its process ended without a word, as when it is killed or crashes"
        if "ttl" in stimulus_id:
            why = "nothing was heard of it"
        if any(one["worker"] == worker for _, one in scheduler.get_events("worker-restart-memory")):
            why = "it needed more memory than it may"
        scheduler.log_event(LOSSES, (name, why, tasks))


def _last(scheduler: Scheduler, worker: str, action: str) -> dict[str, Any]:
    """The newest event of a worker that says so."""
    found = [one for _, one in scheduler.get_events(worker) if one.get("action") == action]
    return found[-1] if found else {}
