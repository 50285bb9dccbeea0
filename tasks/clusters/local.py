"""Worker processes on this machine, for the length of a run."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Literal

import dask
from dask.system import CPU_COUNT
from distributed import LocalCluster
from distributed.system import MEMORY_LIMIT
from pydantic import Field

from models.schema import UsageError
from tasks.clusters.environment import WORKER_BYTES, worker_environment
from tasks.clusters.profile import Profile
from tasks.clusters.roles import ROLES


class Local(Profile):
    """As many worker processes as the machine has room for."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(
        None, ge=1, description="Worker processes; by default as many as cores and memory allow."
    )
    threads: int = Field(
        1,
        ge=1,
        description="Threads of each worker's numerical libraries. workers times threads may not "
        "exceed the cores: two processes with two threads each on two cores ran ten times slower.",
    )

    def check(self) -> None:
        """Refuses more threads than the machine has cores."""
        self.worker_count()

    def worker_count(self) -> int:
        """Worker processes to start on this machine.

        Raises:
            UsageError: they would have more threads than the machine has cores.
        """
        if self.workers is None:
            fit = min(CPU_COUNT // self.threads, MEMORY_LIMIT // WORKER_BYTES)
            return max(1, fit)
        if self.workers * self.threads > CPU_COUNT:
            raise UsageError(
                f"cluster: {self.workers} workers of {self.threads} threads exceed the "
                f"{CPU_COUNT} cores of this machine; lower one of them in the cluster profile"
            )
        return self.workers

    @contextlib.contextmanager
    def open(self) -> Iterator[LocalCluster]:
        """The workers, each with one task at a time and both roles."""
        environment = worker_environment(self.threads)
        # What fails on a worker is raised in the run; Dask would print it over the terminal too.
        environment["DASK_LOGGING__DISTRIBUTED"] = "critical"
        # Not `env=`: malloc and OpenMP read these when the process starts, before Dask sets it.
        with (
            dask.config.set({"distributed.nanny.pre-spawn-environ": environment}),
            LocalCluster(
                n_workers=self.worker_count(),
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                dashboard_address="127.0.0.1:0",
                resources=dict.fromkeys(ROLES, 1),
                silence_logs=logging.ERROR,
            ) as cluster,
        ):
            yield cluster
