"""What a worker process is started with: its environment, and the roles that it offers."""

from collections.abc import Iterable, Mapping
from typing import Any

ROLES = ("cpu", "model")
"""``cpu`` decodes and computes descriptors, ``model`` runs the networks: roles, not hardware, so
that the flow's code does not change with the cluster."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "OPENCV_FOR_THREADS_NUM",
)
"""What the numerical libraries read when they are first imported."""

KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
}
"""Lets glibc keep the networks' large buffers from batch to batch. With Dask's own setting,
which returns them to the system each time, a third of ResNet-50's CPU time went into page
faults (1,745 against 1,116 ms per clip)."""

NO_SPINNING = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Lets threads of a numerical library sleep while they wait for one another. Where other processes
need the cores as well, threads that spin keep them from those they wait for: on two busy cores a
step of the reference network took 1.0 s instead of 0.2 s."""

SAFE_PATH = {"PYTHONSAFEPATH": "1"}
"""Keeps Python from importing files of the folder where it happens to be started: somebody's
``models.py`` there is none of ours. Every process below inherits it."""

SELDOM = {
    "distributed.admin.tick.interval": "200ms",
    "distributed.admin.system-monitor.interval": "1s",
    "distributed.worker.profile.interval": "100ms",
    "distributed.worker.profile.cycle": "5s",
    "distributed.worker.memory.monitor-interval": "200ms",
}
"""Dask's configuration of how often it looks at itself: by default its profiler a hundred times a
second. A worker and its nanny took 4.4 % of a core with nothing to do; like this, it is 1.6 %."""

PAGES = "127.0.0.1:0"
"""Where a scheduler or a worker serves its pages and figures, for nobody on another machine; by
default a worker does on every address, without a dashboard too."""

ALLOWED_FAILURES = 1
"""A task that killed its worker is tried once more, no oftener: each try kills one of few workers,
and what it worked on is encoded apart afterwards."""

WORKER_BYTES = 3 * 2**30
"""Memory that a worker with all networks loaded may need."""


def worker_environment(threads: int) -> dict[str, str]:
    """Variable → value, for workers of ``threads`` threads per numerical library."""
    return (
        dict.fromkeys(THREAD_VARIABLES, str(threads))
        | KEEP_MEMORY
        | NO_SPINNING
        | SAFE_PATH
        | dask_variables(SELDOM)
    )


def scheduler_environment() -> dict[str, str]:
    """Variable → value, for a scheduler."""
    failures = {"DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": str(ALLOWED_FAILURES)}
    return SAFE_PATH | failures | dask_variables(SELDOM)


def dask_variables(settings: Mapping[str, Any]) -> dict[str, str]:
    """Dask's configuration as it reads it from the environment."""
    return {
        f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(value)
        for key, value in settings.items()
    }


def roles_of_cpu_workers(gpus: int) -> tuple[str, ...]:
    """What workers without a GPU offer, where there are so many with one."""
    return ("cpu",) if gpus else ROLES


def resources(roles: Iterable[str]) -> dict[str, int]:
    """Roles as Dask resources: a worker does one thing of each kind at a time."""
    return dict.fromkeys(roles, 1)


def resources_option(roles: Iterable[str]) -> str:
    """The same for the command line, e.g. ``cpu=1 model=1``."""
    return " ".join(f"{role}={number}" for role, number in resources(roles).items())
