"""Scheduler, workers and flow run the same versions, or the run says who differs and in what.

Features of two versions in one store would be told apart by nobody, and what one version of
Dask pickles another may not read.
"""

import asyncio
import json
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from distributed import Client, Status, Worker, WorkerPlugin

from meldflow.models.running.hardware import (
    EXTRACTION_PACKAGES,
    NOT_INSTALLED,
    describe_hardware,
    describe_versions,
)
from meldflow.models.schema.errors import UsageError

MESSAGING = ("meldflow", "dask", "distributed", "cloudpickle", "msgpack", "tornado")
"""What a scheduler and its clients understand each other by."""

COMPARED = tuple(dict.fromkeys((*MESSAGING, *EXTRACTION_PACKAGES)))
"""What has to be the same on workers and in the flow."""

TOPIC = "meldflow-versions"
"""Dask's event topic on which refused workers say why."""

Versions = Mapping[str, str]

logger = logging.getLogger("meldflow.versions")


def versions_here(packages: Sequence[str] = COMPARED) -> dict[str, str]:
    """Package → version in this process, as far as it matters: no patch of Python, no build."""
    found = {name: one.partition("+")[0] for name, one in describe_versions(packages).items()}
    return found | {"python": ".".join(found["python"].split(".")[:2])}


def differences(there: Versions, here: Versions) -> str:
    """What differs, e.g. ``torch 2.13.0 instead of 2.14.1``; empty if nothing does."""
    return ", ".join(
        f"no {name} instead of {version}"
        if there.get(name, NOT_INSTALLED) == NOT_INSTALLED
        else f"{name} {there[name]} instead of {version}"
        for name, version in here.items()
        if there.get(name) != version
    )


def check_scheduler(client: Client, packages: Sequence[str] = ()) -> None:
    """Compares the scheduler with this process, in ``packages`` as well.

    Raises:
        UsageError: it runs other versions.
    """
    compared = (*MESSAGING, *packages)  # it unpickles the extractors on their way
    try:
        there = client.run_on_scheduler(versions_here, compared)
    except (ImportError, AttributeError) as error:
        there = error
    if line := _refusal("the scheduler", there, versions_here(compared)):
        raise UsageError(line)


def check_workers(client: Client, packages: Sequence[str] = ()) -> None:
    """Compares the workers with this process, in ``packages`` as well.

    Raises:
        UsageError: one runs other versions.
    """
    compared = (*COMPARED, *packages)
    here, refused = versions_here(compared), list[str]()
    known = client.scheduler_info(n_workers=-1)["workers"]
    for address, there in client.run(versions_here, compared, on_error="return").items():
        name = known.get(address, {}).get("name", "")
        line = _refusal(f"worker {name} at {address}", there, here)
        if line and not isinstance(there, OSError | TimeoutError):  # else it left meanwhile
            refused.append(line)
    if refused:
        more = f" ({len(refused)} workers differ)" if len(refused) > 1 else ""
        raise UsageError(refused[0] + more)


def describe_workers(client: Client) -> list[dict[str, Any]]:
    """What the features are made on: software and hardware, with how many workers are alike."""
    found = Counter(client.run(_origin_of_worker).values())
    return [{"workers": number} | json.loads(one) for one, number in found.items()]


def _origin_of_worker() -> str:
    threads = os.environ.get("OMP_NUM_THREADS", "")
    hardware = describe_hardware(int(threads) if threads.isdigit() else os.cpu_count() or 1)
    versions = describe_versions(EXTRACTION_PACKAGES)
    return json.dumps({"versions": versions, "hardware": asdict(hardware)}, sort_keys=True)


def guard_versions(client: Client, packages: Sequence[str] = ()) -> None:
    """Refuses workers of other versions that join later; this process' log says which and why.

    Raises:
        UsageError: see ``check_scheduler``.
    """
    check_scheduler(client, packages)
    client.subscribe_topic(TOPIC, lambda event: logger.warning("refused: %s", event[1]))
    client.register_plugin(_Guard(versions_here((*COMPARED, *packages))))


class _Guard(WorkerPlugin):
    """Closes a worker of other versions when it joins, before it gets to do anything."""

    name = "meldflow-versions"

    def __init__(self, expected: Versions) -> None:
        self.expected = dict(expected)
        self._leaving: asyncio.Task[None] | None = None

    async def setup(self, worker: Worker) -> None:
        packages = [name for name in self.expected if name != "python"]
        who = f"worker {worker.name} at {worker.address}"
        if line := _refusal(who, versions_here(packages), self.expected):
            logger.error("%s", line)
            worker.log_event(TOPIC, line)
            worker.status = Status.closing_gracefully  # it takes no work from here on
            self._leaving = asyncio.create_task(_leave(worker, line))


async def _leave(worker: Worker, why: str) -> None:
    """Closes a worker with its nanny, which listens once the worker has started."""
    await asyncio.sleep(1)
    await worker.close(reason=why, nanny=True)


def _refusal(who: str, there: Versions | Exception, here: Versions) -> str:
    """Why somebody may not take part; empty if they may."""
    if isinstance(there, Exception):
        why = f"does not run this meldflow ({type(there).__name__}: {there})"
    elif found := differences(there, here):
        why = f"runs {found}"
    else:
        return ""
    return f"cluster: {who} {why}; install there what runs here"
