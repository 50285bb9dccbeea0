"""Workers as Slurm jobs, for the length of a run; the scheduler is in the flow's process."""

import asyncio
import contextlib
import functools
import logging
import shlex
import shutil
import signal
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import dask
from dask.utils import parse_timedelta
from distributed import Scheduler, Security, Status
from pydantic import Field

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster import environment
from meldflow.tasks.cluster.certificates import make, trusting
from meldflow.tasks.cluster.elastic import ElasticCluster
from meldflow.tasks.cluster.profile import Part, Profile

COMMANDS = ("sbatch", "scancel")

SIZE = r"^\d+(\.\d+)? ?[kKMGT]i?B$"
"""A number of bytes as Dask reads it."""


class JobCluster(ElasticCluster):
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
        super()._update_worker_status(op, msg)

    def _replace(self, worker: str) -> None:
        if self.status != Status.running:
            return
        alive = {str(one["name"]) for one in self.scheduler_info["workers"].values()}
        for job, spec in self.worker_spec.items():
            members = {f"{job}{suffix}" for suffix in spec.get("group", [""])}
            if worker in members and not members & alive and job in self.workers:
                self._futures.add(asyncio.ensure_future(self.workers.pop(job).close()))
        self.scale(len(self.worker_spec))  # type: ignore[no-untyped-call]  # opens what is missing


class Jobs(Part):
    """Jobs that are alike, of one worker process each."""

    jobs: int = Field(1, ge=1, description="How many jobs.")
    threads: int = Field(
        1, ge=1, description="Threads of each worker's numerical libraries: cores per process."
    )
    memory: str = Field(
        "4GiB", description="Memory of a job, shared by its processes, e.g. 32GiB.", pattern=SIZE
    )
    walltime: str = Field(
        "08:00:00",
        description="Time limit of a job; one that ends before the run does is submitted anew.",
        pattern=r"^(\d+-)?\d+(:\d\d){0,2}$",
    )
    queue: str | None = Field(None, description="Partition of the Slurm cluster.")
    account: str | None = Field(None, description="Account that is charged.")
    options: tuple[str, ...] = Field(
        (), description="Further options of sbatch, e.g. --constraint=avx512."
    )


class CpuJobs(Jobs):
    """Jobs without GPUs, which may hold several worker processes."""

    processes: int = Field(
        1, ge=1, description="Worker processes per job, each with one task at a time."
    )


class GpuJobs(Jobs):
    """Jobs of one worker process with a GPU."""

    gres: str = Field("gpu:1", description="The GPU of a job, as in sbatch --gres.")


class Slurm(Profile):
    """Jobs of CPU workers and, where the cluster has GPUs, jobs of GPU workers."""

    kind: Literal["slurm"]
    join_seconds: float = Field(
        3600.0, gt=0, description="How long jobs may wait in the queue when a run begins, seconds."
    )
    cpu: CpuJobs = Field(
        CpuJobs(), description="Jobs that decode and, without GPUs, run the networks."
    )
    gpu: GpuJobs | None = Field(None, description="Jobs that run the networks.")
    interface: str | None = Field(
        None, description="Network interface that the nodes reach each other by, e.g. ib0."
    )
    host: str | None = Field(
        None, description="Instead of an interface, this node's address for the workers."
    )
    python: str | None = Field(
        None, description="Python of the environment on the nodes; by default this one's path."
    )
    prologue: tuple[str, ...] = Field(
        (), description="Shell commands before a worker starts, e.g. module load cuda."
    )
    logs: Path = Field(Path("slurm-logs"), description="Folder for what the jobs print.")
    scratch: str | None = Field(
        None, description="Local folder of the nodes for what Dask spills, e.g. $TMPDIR."
    )

    def check(self) -> None:
        """Finds out whether jobs can be submitted from here.

        Raises:
            UsageError: Slurm's commands or dask-jobqueue are not installed, or no job has the
                GPUs that the networks are to run on.
        """
        self.check_gpus(self.gpu)
        _job_class()
        for command in COMMANDS:
            if shutil.which(command) is None:
                raise UsageError(
                    f"cluster: kind slurm, and {command} is not on PATH; start the run on a "
                    "login node of the Slurm cluster"
                )

    @contextlib.contextmanager
    def open(self) -> Iterator[JobCluster]:
        """Submits the jobs; cancels them at the end.

        Raises:
            UsageError: Slurm refuses the jobs, or the certificates cannot be used.
        """
        self.check()
        where = {"host": self.host, "interface": self.interface}
        options = {**where, "protocol": "tls", "dashboard_address": environment.PAGES}
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(trusting(stack.enter_context(self._certificates())))
                cluster = JobCluster(  # type: ignore[no-untyped-call]
                    workers=(specs := self.job_specs()),
                    worker=specs["cpu-0"],
                    scheduler={"cls": Scheduler, "options": options},
                    silence_logs=logging.ERROR,
                )
            except (RuntimeError, ValueError, OSError) as error:
                why = " ".join(str(error).split())
                why = why.partition("stderr:")[2].strip() or why
                raise UsageError(f"cluster: Slurm takes no jobs: {why}") from error
            stack.enter_context(cluster).follow(self, self.cpu.processes)
            yield cluster

    @contextlib.contextmanager
    def _certificates(self) -> Iterator[Path]:
        """The folder of those that are named, or of some that are made for this run alone."""
        if self.tls:
            yield self.tls
            return
        self.logs.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".tls-", dir=self.logs) as folder:
            make(Path(folder))
            yield Path(folder)

    def job_specs(self) -> dict[str, dict[str, Any]]:
        """Name → the job, as Dask starts it.

        Raises:
            UsageError: dask-jobqueue is not installed.
        """
        roles = environment.roles_of_cpu_workers(self.gpu.jobs if self.gpu else 0)
        cpu = self._spec(self.cpu, roles, self.cpu.processes)
        specs = {f"cpu-{n}": cpu for n in range(self.cpu.jobs)}
        if self.gpu:
            gpu = self._spec(self.gpu, ("model",), directives=[f"--gres={self.gpu.gres}"])
            specs |= {f"gpu-{n}": gpu for n in range(self.gpu.jobs)}
        return specs

    def _spec(
        self, jobs: Jobs, roles: Sequence[str], processes: int = 1, directives: Sequence[str] = ()
    ) -> dict[str, Any]:
        variables = environment.worker_environment(jobs.threads)
        exports = [f"export {name}={shlex.quote(one)}" for name, one in variables.items()]
        options = {
            "queue": jobs.queue,
            "account": jobs.account,
            "walltime": jobs.walltime,
            "memory": jobs.memory,
            "processes": processes,
            # Dask threads per process: cores over processes. One; Slurm is told of the others.
            "cores": processes,
            "job_cpu": processes * jobs.threads,
            "job_extra_directives": [*directives, *jobs.options],
            "job_script_prologue": [*exports, *self.prologue],
            "worker_extra_args": [
                *("--resources", shlex.quote(environment.resources_option(roles))),
                *("--dashboard-address", environment.PAGES),
            ],
            "interface": self.interface,
            "security": Security(),
            "python": self.python,
            "local_directory": self.scratch,
            "log_directory": str(self.logs),
            "job_name": "meldflow",
        }
        group = {"group": [f"-{n}" for n in range(processes)]} if processes > 1 else {}
        return {"cls": _job_class(), "options": options} | group


@functools.cache
def _job_class() -> type[Any]:
    ctrl_c = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue.slurm import SLURMJob
    except ImportError as error:
        raise UsageError(
            "cluster: kind slurm needs dask-jobqueue; install meldflow[slurm]"
        ) from error
    signal.signal(signal.SIGINT, ctrl_c)  # which that import makes a mere exit

    class Job(SLURMJob):  # type: ignore[misc]
        """Says how it ended, which a cluster insists on when it closes."""

        async def start(self) -> None:
            try:
                await super().start()
            except BaseException:
                self.status = Status.failed
                raise

        async def close(self) -> None:
            await super().close()
            self.status = Status.closed

    return Job
