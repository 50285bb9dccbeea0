"""Workers in jobs of a queue, which end when their time is up, whatever the run is doing."""

from __future__ import annotations

import asyncio
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import SpecCluster, Status


class JobCluster(SpecCluster):
    """Submits a job anew whose workers are all gone, and stay away.

    Jobs of two kinds (with and without GPUs) serve one scheduler, which dask-jobqueue's own
    clusters cannot do: they know one kind each.
    """

    def _update_worker_status(self, op: str, msg: Any) -> None:
        """Called by Dask when a worker joins or leaves."""
        if op == "remove":
            name = str(self.scheduler_info["workers"][msg]["name"])
            delay = parse_timedelta(dask.config.get("distributed.deploy.lost-worker-timeout"))
            asyncio.get_running_loop().call_later(delay, self._replace, name)
        super()._update_worker_status(op, msg)  # type: ignore[no-untyped-call]

    def _replace(self, worker: str) -> None:
        if self.status != Status.running:
            return
        alive = {str(one["name"]) for one in self.scheduler_info["workers"].values()}
        for job, spec in self.worker_spec.items():
            members = {f"{job}{suffix}" for suffix in spec.get("group", [""])}
            if worker in members and not members & alive and job in self.workers:
                self._futures.add(asyncio.ensure_future(self.workers.pop(job).close()))
        self.scale(len(self.worker_spec))  # type: ignore[no-untyped-call]  # opens what is missing
