"""Workers that a run loses: which, why, and what they had to do."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from distributed import Client, SchedulerPlugin

from meldflow.tasks.cluster.connection import Cluster

if TYPE_CHECKING:
    from distributed import Scheduler

TOPIC = "meldflow-losses"
"""Dask's event topic on which the scheduler tells of them."""


def watch_losses(cluster: Cluster, tell: Callable[[str, str, list[str]], None]) -> None:
    """Calls ``tell`` whenever a worker is lost; one that was told to go is not.

    It gets the worker's name, why it is gone, and the keys of what others have to do instead.
    """

    def subscribe(client: Client) -> None:
        client.register_plugin(_Losses())
        client.subscribe_topic(TOPIC, lambda event: tell(*event[1]))

    cluster.on_join(subscribe)


class _Losses(SchedulerPlugin):
    """Tells the clients, since only the scheduler knows what a worker was about."""

    name = TOPIC
    idempotent = True

    async def start(self, scheduler: Scheduler) -> None:
        """Called once."""
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
        scheduler.log_event(TOPIC, (name, why, tasks))


def _last(scheduler: Scheduler, worker: str, action: str) -> dict[str, Any]:
    """The newest event of a worker that says so."""
    found = [one for _, one in scheduler.get_events(worker) if one.get("action") == action]
    return found[-1] if found else {}
