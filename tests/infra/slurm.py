"""A Slurm of one node on loopback, its daemons as processes of the tests: nothing is installed."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.infra.daemon import daemon, output
from tests.proxy import free_port
from tests.rig import wait_until

DAEMONS = ("munged", "slurmctld", "slurmd", "sbatch")
NODE_SECONDS = 60

CONFIGURATION = """\
ClusterName=meldflow
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SchedulerType=sched/builtin
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
KillWait=10
# A node that says of itself what it has would be too small for a few jobs at once.
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=16 RealMemory=256000
PartitionName=work Nodes={host} Default=YES MaxTime=INFINITE
"""


@dataclass(frozen=True, kw_only=True)
class User:
    """Who submits, and with what."""

    identity: Sequence[str]
    """What a command is put behind to be run as this user."""
    environment: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One line of the queue."""

    number: int
    name: str
    state: str
    user: str


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A cluster that takes jobs."""

    folder: Path
    environment: Mapping[str, str] = field(repr=False)

    def ask(self, *command: str | Path, user: User, cwd: Path) -> str:
        """What one of Slurm's commands prints."""
        environment = {**user.environment, **self.environment}
        return output([*user.identity, *command], environment, cwd=cwd)

    def submit(self, script: Path, *arguments: str | Path, user: User, cwd: Path) -> int:
        """The number of a new job; what it prints lies in `slurm-NUMBER.out` of ``cwd``."""
        said = self.ask("sbatch", "--parsable", script, *arguments, user=user, cwd=cwd)
        return int(said)

    def queue(self) -> list[Job]:
        """All jobs that are not over."""
        said = self._root("squeue", "--noheader", "--format=%i|%j|%T|%u")
        cells = [line.split("|") for line in said.splitlines()]
        return [Job(number=int(n), name=a, state=b, user=c) for n, a, b, c in cells]

    def workers(self, state: str = "RUNNING") -> list[Job]:
        """Jobs that are Dask workers."""
        return [one for one in self.queue() if one.name == "meldflow" and one.state == state]

    def cancel(self, job: int) -> None:
        """`scancel`, as a user or an operator does it."""
        self._root("scancel", str(job))

    def ending(self, job: int) -> str:
        """How a job ended, e.g. COMPLETED or TIMEOUT; empty as long as it has not."""
        found = re.search(r"JobState=(\w+)", self._root("scontrol", "show", "job", str(job)))
        state = found[1] if found else ""
        return "" if state in ("PENDING", "RUNNING", "COMPLETING", "CONFIGURING") else state

    def _root(self, *command: str) -> str:
        return subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        ).stdout


@contextlib.contextmanager
def open_slurm(folder: Path) -> Iterator[Slurm]:
    """Starts munge, the controller and the node; ends them, and with them all jobs."""
    missing = [one for one in DAEMONS if shutil.which(one) is None]
    if missing:
        pytest.skip(f"no {missing[0]}: apt-get install slurm-wlm munge")
    if os.geteuid() != 0:
        pytest.skip("a node that runs jobs of others is started by root")
    folder.chmod(0o755)
    for name in ("state", "spool", "munge"):
        (folder / name).mkdir()
    key, file = folder / "munge" / "key", folder / "slurm.conf"
    key.write_bytes(secrets.token_bytes(1024))
    key.chmod(0o400)
    ports = {"controller": free_port(), "node": free_port()}
    host = socket.gethostname().partition(".")[0]
    file.write_text(CONFIGURATION.format(folder=folder, host=host, **ports))
    slurm = Slurm(folder=folder, environment={"SLURM_CONF": str(file)})
    munge: list[str | Path] = ["munged", "--foreground", "--force", "--key-file", key]
    munge += ["--socket", folder / "munge.socket", "--pid-file", folder / "munge" / "pid"]
    munge += ["--log-file", folder / "munge" / "log", "--seed-file", folder / "munge" / "seed"]
    with contextlib.ExitStack() as stack:
        for command in (
            munge,
            ("slurmctld", "-D", "-i"),
            ("slurmd", "-D", "-N", host),
        ):
            stack.enter_context(daemon(command, folder, {**os.environ, **slurm.environment}))
            if command[0] == "munged":
                wait_until((folder / "munge.socket").exists, NODE_SECONDS, "munge answers")
        try:
            wait_until(lambda: _is_idle(slurm), NODE_SECONDS, "the node is idle")
            yield slurm
        finally:
            for job in slurm.queue():
                slurm.cancel(job.number)
            wait_until(lambda: not slurm.queue(), NODE_SECONDS, "all jobs are over")


def _is_idle(slurm: Slurm) -> bool:
    try:
        return "idle" in slurm._root("sinfo", "--noheader", "--format=%T")
    except subprocess.CalledProcessError:  # the controller does not listen yet
        return False
