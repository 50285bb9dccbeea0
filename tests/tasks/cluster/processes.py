"""A scheduler and workers as somebody starts them: processes of Dask's own command line."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meldflow.tasks.cluster.environment import worker_environment
from tests.paths import ROOT

OURS = os.pathsep.join((str(ROOT / "src"), str(ROOT)))


@dataclass(frozen=True)
class Processes:
    """The address of a scheduler, and what starts workers for it."""

    address: str
    folder: Path
    stack: contextlib.ExitStack

    def worker(
        self,
        name: str,
        resources: str,
        environment: Mapping[str, str] | None = None,
        address: str = "",
    ) -> subprocess.Popen[bytes]:
        """Starts a worker, as ``docs/clusters.md`` says: with one thread per library."""
        environment = worker_environment(1) | dict(environment or {})
        options = ("--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard")
        arguments = (
            "worker",
            address or self.address,
            *options,
            "--name",
            name,
            "--resources",
            resources,
        )
        return self.stack.enter_context(
            _dask(self.folder / f"{name}.log", *arguments, environment=environment)
        )

    def log(self, name: str) -> str:
        """What a process printed."""
        return (self.folder / f"{name}.log").read_text()


@contextlib.contextmanager
def scheduler(folder: Path, environment: Mapping[str, str] | None = None) -> Iterator[Processes]:
    """A scheduler; it and its workers are ended afterwards."""
    port = free_port()
    options = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
    with contextlib.ExitStack() as stack:
        stack.enter_context(
            _dask(folder / "scheduler.log", "scheduler", *options, environment=environment)
        )
        yield Processes(f"tcp://127.0.0.1:{port}", folder, stack)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


def pretend(folder: Path, package: str, version: str) -> dict[str, str]:
    """Environment of a process that takes ``package`` for another version."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    return {"PYTHONPATH": os.pathsep.join((str(folder), OURS))}


def wait_until(condition: object, seconds: float = 30) -> None:
    """Waits for a function to become true."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


@contextlib.contextmanager
def _dask(
    log: Path, *arguments: str, environment: Mapping[str, str] | None
) -> Iterator[subprocess.Popen[bytes]]:
    variables = {**os.environ, "PYTHONPATH": OURS, **(environment or {})}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", *arguments],
            env=variables,
            cwd=log.parent,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
