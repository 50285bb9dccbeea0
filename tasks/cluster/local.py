"""Worker processes on this machine, for the length of a run."""

import contextlib
import logging
import os
import subprocess
from collections.abc import Iterator
from itertools import takewhile
from typing import Any, Literal

import dask
from dask.system import CPU_COUNT
from distributed import Nanny, Scheduler
from distributed.system import MEMORY_LIMIT
from pydantic import Field

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster import environment
from meldflow.tasks.cluster.elastic import ElasticCluster
from meldflow.tasks.cluster.profile import Profile

HOST = "127.0.0.1"


class Local(Profile):
    """As many worker processes as the machine has room for, and one more per GPU."""

    kind: Literal["local"] = "local"
    workers: int | None = Field(
        None,
        ge=1,
        description="Worker processes without a GPU; by default as many as cores and memory allow.",
    )
    gpus: int | None = Field(
        None,
        ge=0,
        description="Worker processes with a GPU each, which then run all networks; by default, "
        "with `device: cuda`, one for every GPU that nvidia-smi lists.",
    )
    threads: int = Field(
        1,
        ge=1,
        description="Threads of each worker's numerical libraries. workers times threads may not "
        "exceed the cores: two processes with two threads each on two cores ran ten times slower.",
    )

    def check(self) -> None:
        """Refuses more threads than the machine has cores, and GPUs that are not there."""
        self.worker_count()
        self.check_gpus(self.gpu_count())

    def worker_count(self) -> int:
        """Worker processes without a GPU that there may be on this machine.

        Raises:
            UsageError: they would have more threads than the machine has cores.
        """
        workers = max(self.workers or 0, self.most)
        if not workers:
            room = MEMORY_LIMIT // environment.WORKER_BYTES - self.gpu_count()
            return max(1, min(CPU_COUNT // self.threads, room))
        if workers * self.threads > CPU_COUNT:
            raise UsageError(
                f"cluster: {workers} workers of {self.threads} threads exceed the "
                f"{CPU_COUNT} cores of this machine; lower one of them in the cluster profile"
            )
        return workers

    def gpu_count(self) -> int:
        """Worker processes with a GPU.

        Raises:
            UsageError: the networks are to run on GPUs, and there are none, or fewer.
        """
        if self.device == "cpu":
            return self.gpus or 0
        found = len(visible_gpus())
        wanted = found if self.gpus is None else self.gpus
        if not 0 < wanted <= found:
            raise UsageError(
                f"cluster: device cuda, and {found} GPUs are to be seen here"
                + (f" where {self.gpus} are wanted" if self.gpus is not None else "")
                + "; mend `gpus`, or set `device: cpu` in the cluster profile"
            )
        return wanted

    @contextlib.contextmanager
    def open(self) -> Iterator[ElasticCluster]:
        """The workers, each with one task at a time."""
        self.check()
        variables = environment.worker_environment(self.threads)
        # What fails on a worker is raised in the run; Dask would print it over the terminal too.
        variables["DASK_LOGGING__DISTRIBUTED"] = "critical"
        settings = {
            # Not `env=`: malloc and OpenMP read these when the process starts, before Dask sets it.
            "distributed.nanny.pre-spawn-environ": variables,
            "distributed.scheduler.allowed-failures": environment.ALLOWED_FAILURES,
            **environment.SELDOM,
        }
        options = {"host": HOST, "port": 0, "dashboard_address": environment.PAGES}
        with (
            dask.config.set(settings),
            ElasticCluster(  # type: ignore[no-untyped-call]
                workers=(specs := self.worker_specs()),
                worker=specs["cpu-0"],
                scheduler={"cls": Scheduler, "options": options},
                silence_logs=logging.ERROR,
            ) as cluster,
        ):
            cluster.follow(self)
            yield cluster

    def worker_specs(self) -> dict[str, dict[str, Any]]:
        """Name → how Dask starts the worker."""
        workers, gpus = self.worker_count(), self.gpu_count()
        memory = worker_bytes(workers + gpus)
        roles = environment.roles_of_cpu_workers(gpus)
        # A GPU worker of a simulation, with `device: cpu`, sees none. Those that decode may do it
        # by a GPU's video decoder.
        seen = visible_gpus() if self.device == "cuda" else [""] * gpus
        specs = {
            f"cpu-{n}": _spec(roles, memory, (seen or [""])[n % (gpus or 1)])
            for n in range(self.workers or (self.adaptive.minimum if self.adaptive else workers))
        }
        return specs | {f"gpu-{n}": _spec(("model",), memory, seen[n]) for n in range(gpus)}


def worker_bytes(workers: int) -> int:
    """Memory that each of so many workers on this machine may take.

    Dask's own default is a core's share, which may be less than ``WORKER_BYTES``.
    """
    return int(MEMORY_LIMIT) // workers


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES names, else the numbers of the GPUs that nvidia-smi lists.

    As CUDA reads it: nothing, or ``-1``, hides all that follow.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        names = (one.strip() for one in named.split(","))
        return list(takewhile(lambda one: one and not one.startswith("-"), names))
    try:
        listed = subprocess.run(
            ["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    lines = listed.stdout.splitlines()
    return [str(number) for number in range(sum(line.startswith("GPU ") for line in lines))]


def _spec(roles: tuple[str, ...], memory: int, gpu: str = "") -> dict[str, Any]:
    # The GPU that a process sees is set here, since it differs: CUDA reads it at its first use.
    return {
        "cls": Nanny,
        "options": {
            "host": HOST,
            "nthreads": 1,
            "resources": environment.resources(roles),
            "memory_limit": memory,
            "dashboard": False,
            "dashboard_address": environment.PAGES,
            "env": {"CUDA_VISIBLE_DEVICES": gpu},
        },
    }
