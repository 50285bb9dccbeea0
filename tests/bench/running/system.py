"""A Prefect server, a Dask scheduler and workers for a bench, each in processes of its own."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from meldflow.flows.serving.site import supervisor
from meldflow.flows.serving.site.settings import QUIET
from meldflow.models.schema.errors import RunError
from meldflow.tasks.cluster.environment import (
    resources_option,
    roles_of_cpu_workers,
    worker_environment,
)
from meldflow.tasks.cluster.local import Local, worker_bytes
from tests.bench.running.usage import cpu_seconds
from tests.servers import own_server

WORKERS = Local().worker_count()
"""As many as a run starts by itself: the sides of a comparison have the same cores."""

CLUSTER = "cluster"
"""Name of the only cluster, where there is one."""

START_SECONDS = 120.0
STOP_SECONDS = 10.0

SETTLE_SECONDS = 300.0
"""How long the server may take, after a run's end, to have recorded it."""

IDLE_SHARE = 0.25
"""A server that takes less of a core than this has nothing left to record."""

_DASK = (sys.executable, "-W", "ignore", "-m")
_SCHEDULER = (*_DASK, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0")
_WORKER = (
    *(*_DASK, "distributed.cli.dask_worker", "--host", "127.0.0.1", "--nthreads", "1"),
    "--no-dashboard",
    # What it imports is no part of what a run costs.
    *("--preload", "meldflow.tasks.extraction.stages"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """A flow's process that has ended well."""

    output: str
    seconds: float
    cpu_seconds: float


@dataclass(slots=True, kw_only=True)
class System:
    """What runs, and where it is found."""

    folder: Path
    environment: dict[str, str]
    api: str = ""
    processes: dict[str, list[psutil.Process]] = field(default_factory=dict)
    """Name → the processes of that kind; their children come with them."""

    @property
    def profile(self) -> Path:
        """The cluster profile that leads to the workers of ``system``."""
        return self.profile_of(CLUSTER)

    def profile_of(self, cluster: str) -> Path:
        """The cluster profile that leads to the workers of a cluster."""
        return self.folder / f"{cluster}.yaml"

    def run(self, *arguments: str | Path) -> Done:
        """Runs a command of meldflow's in a process of its own, to its end.

        Raises:
            RunError: it failed; the message is its own.
        """
        started, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
        command = [sys.executable, "-m", "meldflow.flows.cli.main", *map(str, arguments)]
        environment = self.environment | {"PREFECT_API_URL": self.api}
        with (
            (self.folder / "flow.log").open("w+") as errors,
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=errors, text=True
            ) as flow,
        ):
            self.processes["flow"] = [psutil.Process(flow.pid)]
            try:
                output, _ = flow.communicate()
            except BaseException:
                flow.terminate()
                raise
            if flow.returncode:
                errors.seek(0)
                said = errors.read().strip() or f"exit code {flow.returncode}"
                raise RunError(f"bench: {' '.join(command[2:5])} failed: {said[-2000:]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return Done(output=output, seconds=time.monotonic() - started, cpu_seconds=spent)

    def extract(
        self, table: Path, utterances: int, options: Sequence[str], *, on: str = CLUSTER
    ) -> tuple[Done, dict[str, Any]]:
        """Extracts a table into a new store beside it, and gives its report.

        Args:
            table: beside which the store will be.
            utterances: how many the table lists.
            options: further ones of the command.
            on: the cluster that does the work.

        Raises:
            RunError: it failed, or did less than all, or something twice: no figure of it would be
                that of an extraction.
        """
        done = self.run_extract(table, options, on=on)
        report: dict[str, Any] = json.loads(done.output)
        failed = sum(one["failed"] for one in report["failures"])
        short = [name for name, n in report["extracted"].items() if n != utterances]
        again = report["effort"]["retries"] + report["effort"]["apart"]
        if failed or short or again or not report["extracted"]:
            raise RunError(
                f"bench: of {utterances} utterances {failed} features could not be extracted, "
                f"{', '.join(short) or 'no extractor'} had fewer, and {again} batches were tried "
                "again: nothing is measured by that"
            )
        return done, report

    def run_extract(self, table: Path, options: Sequence[str], *, on: str = CLUSTER) -> Done:
        """``meldflow extract`` of a table into the store beside it, whatever is left to do.

        Raises:
            RunError: it failed.
        """
        store = table.with_suffix(".store")
        return self.run(
            *("extract", table, "--store", store, "--cluster", self.profile_of(on), "--json"),
            *options,
        )

    def recorded(self) -> int:
        """Task runs that the server knows as completed."""
        completed = {"task_runs": {"state": {"type": {"any_": ["COMPLETED"]}}}}
        request = urllib.request.Request(
            f"{self.api}/task_runs/count",
            data=json.dumps(completed).encode(),
            headers={"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return int(json.load(answer))

    def settle(self, expected: int) -> int:
        """Waits until the server has recorded ``expected`` task runs and rests; gives how many.

        States arrive as events, which it works off behind the runs.
        """
        deadline = time.monotonic() + SETTLE_SECONDS
        known = self.recorded()
        while time.monotonic() < deadline:
            before, since = cpu_seconds(self.processes["server"]), time.monotonic()
            time.sleep(1.0)
            busy = cpu_seconds(self.processes["server"]) - before
            known = self.recorded()
            if busy < IDLE_SHARE * (time.monotonic() - since) and known >= expected:
                break
        return known


@contextlib.contextmanager
def system(folder: Path, workers: int = WORKERS) -> Iterator[System]:
    """A server, a scheduler and workers, stopped at the end; the cluster profile is written.

    Args:
        folder: for everything that they write. What is in ``folder/path`` is on their path, and
            on that of the flows.
        workers: how many, of one thread each.

    Raises:
        RunError: one of them did not start.
    """
    with server(folder) as up, cluster(up, workers):
        yield up


@contextlib.contextmanager
def server(folder: Path) -> Iterator[System]:
    """A Prefect server without a cluster, stopped at the end; ``folder`` as in ``system``.

    Raises:
        RunError: it did not start.
    """
    paths = (str(folder / "path"), os.environ.get("PYTHONPATH", ""))
    environment = {
        **os.environ,
        **QUIET,
        **worker_environment(1),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
        "DASK_LOGGING__DISTRIBUTED": "critical",
    }
    before = set(psutil.Process().children())
    with own_server() as api:
        started = list(set(psutil.Process().children()) - before)
        yield System(folder=folder, environment=environment, api=api, processes={"server": started})


@contextlib.contextmanager
def cluster(
    up: System,
    workers: int,
    *,
    name: str = CLUSTER,
    hosts: Sequence[Sequence[str]] = (),
    gpus: int = 0,
    device: str = "cpu",
) -> Iterator[str]:
    """A scheduler and workers beside a server, stopped at the end; gives the scheduler's address.

    ``up.profile_of(name)`` leads there.

    Args:
        up: the server; its ``processes`` name these as well, as long as they run.
        workers: how many join.
        name: of the profile, and in the names of the workers.
        hosts: commands that start all of them, in as many processes; else each has a process of
            its own.
        gpus: how many join besides, for the networks alone, which the others then do not run.
        device: what the networks run on.

    Raises:
        RunError: one of them did not start.
    """
    told = up.folder / f"{name}-scheduler.json"
    where = ("--scheduler-file", str(told))
    commands: dict[str, list[Sequence[str]]] = {
        "scheduler": [(*_SCHEDULER, "--dashboard-address", "127.0.0.1:0", *where)],
        "workers": [(*one, *where) for one in hosts or _workers(name, workers, gpus)],
    }
    with contextlib.ExitStack() as stack:
        for kind, several in commands.items():
            for command in several:
                stack.enter_context(_started(command, up, kind))
        address = _address(told, workers + gpus)
        profile = f"kind: address\naddress: {address}\ndevice: {device}\n"
        up.profile_of(name).write_text(profile)
        yield address


def _workers(name: str, workers: int, gpus: int) -> Iterator[Sequence[str]]:
    """Commands for a worker each: those without a GPU, then those with one."""
    memory = ("--memory-limit", str(worker_bytes(workers + gpus)))
    places = {"": (workers, roles_of_cpu_workers(gpus)), "gpu-": (gpus, ("model",))}
    for kind, (number, roles) in places.items():
        for one in range(number):
            own = ("--resources", resources_option(roles), "--name", f"{name}-{kind}{one}")
            yield (*_WORKER, *memory, *own)


@contextlib.contextmanager
def _started(command: Sequence[str], up: System, kind: str) -> Iterator[None]:
    started = supervisor.start(command, up.environment, up.folder / "dask.log")
    watched = psutil.Process(started.pid)
    up.processes.setdefault(kind, []).append(watched)
    try:
        yield
    finally:
        up.processes[kind].remove(watched)
        supervisor.stop([started], STOP_SECONDS)


def _address(told: Path, workers: int) -> str:
    """The scheduler's address, once all workers have joined it."""
    from distributed import Client

    try:
        with Client(scheduler_file=str(told), timeout=START_SECONDS, set_as_default=False) as one:
            one.wait_for_workers(workers, timeout=START_SECONDS)
            return str(one.scheduler.address)
    except (OSError, TimeoutError) as error:
        raise RunError(f"bench: the Dask cluster did not start ({error})") from error
