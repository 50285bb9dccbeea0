"""`meldflow up` in a process of its own, and what its servers say."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from meldflow.flows.serving.site.http import ask as answering
from tests.flows.command import MELDFLOW, NOTHING
from tests.proxy import free_port

MARK = "MELDFLOW_TEST_MARK"
OVER = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED")
ONLY = ("audio/librosa",)


def ask(api: str, path: str, body: object) -> Any:
    """What a server answers to a POST; a busy one says "unavailable" and means "in a moment"."""
    for _ in range(20):
        answer = httpx.post(f"{api}/{path}", json=body, timeout=30)
        if answer.status_code != httpx.codes.SERVICE_UNAVAILABLE:
            break
        time.sleep(0.5)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def records(api: str, what: str, **body: Any) -> list[dict[str, Any]]:
    """All records that a filter of the server's API gives."""
    return list(ask(api, f"{what}/filter", {"limit": 200, **body}))


def flow_run(api: str, name: str) -> dict[str, Any]:
    """The newest run whose name begins so."""
    found = records(api, "flow_runs", sort="EXPECTED_START_TIME_DESC")
    return next(one for one in found if one["name"].startswith(name))


@dataclass(frozen=True, kw_only=True)
class Served:
    """A running `up`."""

    process: subprocess.Popen[bytes]
    folder: Path
    port: int
    dashboard_port: int
    mark: str
    host: str

    @property
    def ui(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def api(self) -> str:
        return f"{self.ui}/api"

    @property
    def said(self) -> str:
        return (self.folder / "up.log").read_text()

    def get(self, path: str) -> Any:
        return httpx.get(f"{self.api}/{path}", timeout=30).raise_for_status().json()

    def deployment(self, name: str) -> dict[str, Any]:
        (found,) = records(self.api, "deployments", deployments={"name": {"any_": [name]}})
        return found

    def start(self, deployment: str, parameters: Mapping[str, Any], **more: Any) -> str:
        id_ = self.deployment(deployment)["id"]
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, **more}
        return str(ask(self.api, f"deployments/{id_}/create_flow_run", body)["id"])

    def state(self, run: str) -> str:
        return str(self.get(f"flow_runs/{run}")["state_type"])

    def finish(self, run: str) -> str:
        until(lambda: self.state(run) in OVER, 150)
        return self.state(run)

    def runs(self, deployment: str) -> list[dict[str, Any]]:
        return records(self.api, "flow_runs", deployments={"name": {"any_": [deployment]}})

    def records(self, run: str) -> list[dict[str, Any]]:
        return records(self.api, "logs", logs={"flow_run_id": {"any_": [run]}})

    def logs(self, run: str) -> str:
        return "\n".join(one["message"] for one in self.records(run))

    def dask(self) -> dict[str, Any]:
        url = f"http://127.0.0.1:{self.dashboard_port}/json/counts.json"
        return dict(httpx.get(url, timeout=30).raise_for_status().json())

    def processes(self, *words: str) -> list[psutil.Process]:
        """Processes of this `up`, itself and those of its flow runs among them."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if one.environ().get(MARK) == self.mark and one.status() != "zombie":
                    line = one.cmdline()
                    if all(word in line for word in words):
                        found.append(one)
        return found


@contextlib.contextmanager
def up(
    folder: Path,
    *arguments: str,
    environment: Mapping[str, str] = os.environ,
    prefect: Mapping[str, str] = NOTHING,
    host: str = "127.0.0.1",
) -> Iterator[Served]:
    """Serves from a folder, in which relative paths are meant, until the block ends.

    ``prefect``: variables of Prefect's, instead of those in ``environment``; ``host``: where it is
    told to listen in ``arguments``.
    """
    ports = [free_port() for _ in range(3)]
    options = zip(("--port", "--scheduler-port", "--dashboard-port"), map(str, ports), strict=True)
    command = [*MELDFLOW, "up", "--home", str(folder / "home"), *arguments]
    mark = uuid.uuid4().hex
    environment = {k: v for k, v in environment.items() if not k.startswith("PREFECT_")}
    with (folder / "up.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, *(part for option in options for part in option)],
            cwd=folder,
            env={**environment, **prefect, MARK: mark, "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    served = Served(
        process=process,
        folder=folder,
        port=ports[0],
        dashboard_port=ports[2],
        mark=mark,
        host=host,
    )
    try:
        until(lambda: "Ctrl-C" in served.said or process.poll() is not None, 180)
        assert process.poll() is None, served.said
        yield served
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(90)
        left = served.processes()
        for one in left:
            one.kill()
        assert not left


@dataclass(frozen=True, kw_only=True)
class Workers:
    """A Dask scheduler with one worker, ``cpu-0``."""

    metrics: str
    """Address of the scheduler's metrics."""
    profile: Path
    """The cluster profile of runs on it."""


@contextlib.contextmanager
def dask(folder: Path) -> Iterator[Workers]:
    """The cluster, until the block ends; logs and profile lie in the folder."""
    port, page = str(free_port()), f"127.0.0.1:{free_port()}"
    where = ("--host", "127.0.0.1")
    one = ("--nthreads", "1", "--no-dashboard", "--name", "cpu-0", "--resources", "cpu=1 model=1")
    commands = (
        ("scheduler", *where, "--port", port, "--dashboard-address", page),
        ("worker", f"tcp://127.0.0.1:{port}", *where, *one),
    )
    profile = folder / "cluster.yaml"
    profile.write_text(f"kind: address\naddress: tcp://127.0.0.1:{port}\n")
    with (folder / "cluster.log").open("wb") as log:
        processes = [
            subprocess.Popen(
                [sys.executable, "-P", "-m", "dask", *arguments], stdout=log, stderr=log, cwd=folder
            )
            for arguments in commands
        ]
    try:
        until(lambda: answering(f"http://{page}/health") is not None, 60)
        yield Workers(metrics=f"http://{page}/metrics", profile=profile)
    finally:
        for process in reversed(processes):
            process.terminate()
            process.wait(30)


def until(happened: Callable[[], bool], seconds: float) -> None:
    """Waits for something to happen."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.2)


def extraction(dataset: Path, store: Path, **more: Any) -> dict[str, Any]:
    """Parameters of `extract` for a run of many small partitions."""
    small = {"only": list(ONLY), "partition": 2, "batch": 1}
    return {"options": {"dataset": str(dataset), "store": str(store), **small, **more}}
