"""A Dask cluster for the length of a run: started or joined, checked, named by roles.

Workers offer roles, not hardware: ``cpu`` for decoding and librosa, ``model`` for the
networks. The flow's code does not change with the cluster.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import dask
from dask.system import CPU_COUNT
from distributed import Client, LocalCluster
from distributed.system import MEMORY_LIMIT

from models.schema import UsageError
from tasks.hardware import EXTRACTION_PACKAGES, describe_hardware, describe_versions
from tasks.options import ClusterProfile

ROLES = ("cpu", "model")

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
"""What the numerical libraries read when they are first imported."""

KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**32),
    "MALLOC_MMAP_THRESHOLD_": str(2**32),
}
"""Lets glibc keep the networks' large buffers from batch to batch. With Dask's own setting,
which returns them to the system each time, a third of ResNet-50's CPU time went into page
faults (1,745 against 1,116 ms per clip)."""

JOIN_SECONDS = 60
"""How long a scheduler may take to answer and to have a worker."""


WORKER_BYTES = 3 * 2**30
"""Memory that a worker with all networks loaded may need."""


def worker_count(profile: ClusterProfile) -> int:
    """Worker processes to start on this machine.

    Raises:
        UsageError: they would have more threads than the machine has cores.
    """
    if profile.workers is None:
        fit = min(CPU_COUNT // profile.threads, MEMORY_LIMIT // WORKER_BYTES)
        return max(1, fit)
    if profile.workers * profile.threads > CPU_COUNT:
        raise UsageError(
            f"cluster: {profile.workers} workers of {profile.threads} threads exceed the "
            f"{CPU_COUNT} cores of this machine; lower one of them in the cluster profile"
        )
    return profile.workers


@contextlib.contextmanager
def open_cluster(profile: ClusterProfile) -> Iterator[Client]:
    """A client of the profile's cluster; what was started here is stopped at the end.

    Raises:
        UsageError: the scheduler does not answer, a role is not offered, a worker runs
            another version, or the threads would exceed the cores.
    """
    with contextlib.ExitStack() as stack:
        if profile.kind == "local":
            cluster = stack.enter_context(_local_cluster(profile))
            client = stack.enter_context(Client(cluster))
        else:
            client = stack.enter_context(_join(profile.address or ""))
        _check_workers(client, profile)
        yield client


def _local_cluster(profile: ClusterProfile) -> LocalCluster:
    environment = dict.fromkeys(THREAD_VARIABLES, str(profile.threads)) | KEEP_MEMORY
    # What fails on a worker is raised in the run; Dask would print it over the terminal too.
    environment["DASK_LOGGING__DISTRIBUTED"] = "critical"
    # Not `env=`: malloc and OpenMP read these when the process starts, before Dask sets it.
    with dask.config.set({"distributed.nanny.pre-spawn-environ": environment}):
        return LocalCluster(
            n_workers=worker_count(profile),
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            resources=dict.fromkeys(ROLES, 1),
            silence_logs=logging.ERROR,
        )


def _join(address: str) -> Client:
    try:
        client = Client(address, timeout=JOIN_SECONDS)
        client.wait_for_workers(1, timeout=JOIN_SECONDS)
    except (OSError, TimeoutError, ValueError) as error:
        raise UsageError(
            f"cluster {address}: no scheduler with a worker answers there ({error}); "
            "start it, or mend `address` in the cluster profile"
        ) from error
    return client


def _check_workers(client: Client, profile: ClusterProfile) -> None:
    workers = client.scheduler_info(n_workers=-1)["workers"]
    offered = {role for worker in workers.values() for role in worker["resources"]}
    if missing := [role for role in ROLES if role not in offered]:
        raise UsageError(
            f"cluster {profile.address}: no worker offers {' or '.join(missing)}; "
            'start workers with --resources "cpu=1 model=1"'
        )
    here = version("meldflow")
    for address, (there, threads) in client.run(_worker_facts).items():
        if there != here:
            raise UsageError(f"cluster: worker {address} runs meldflow {there}, this is {here}")
        if profile.kind == "local" and threads != str(profile.threads):
            raise UsageError(f"cluster: worker {address} has {threads} threads per library")


def _worker_facts() -> tuple[str, str]:
    return version("meldflow"), os.environ.get("OMP_NUM_THREADS", "all")


def describe_workers(client: Client) -> list[dict[str, Any]]:
    """What the features are made on: software and hardware, with how many workers are alike."""
    found = Counter(client.run(_origin_of_worker).values())
    return [{"workers": number} | json.loads(one) for one, number in found.items()]


def _origin_of_worker() -> str:
    threads = os.environ.get("OMP_NUM_THREADS", "")
    hardware = describe_hardware(int(threads) if threads.isdigit() else os.cpu_count() or 1)
    versions = describe_versions(EXTRACTION_PACKAGES)
    return json.dumps({"versions": versions, "hardware": asdict(hardware)}, sort_keys=True)
