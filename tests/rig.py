"""A whole installation as processes that may be killed, and runs that have to live through it.

A Prefect server, a Dask scheduler with workers, and an S3 server, each kept running by a
supervisor as `meldflow up` does it; runs are started as `meldflow extract`. Between a run and the
Prefect and S3 servers lie networks that can be taken away.
"""

from __future__ import annotations

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from meldflow.flows.serving.site.http import ask
from meldflow.storage import open_store
from meldflow.storage.places.location import exists, open_repository
from meldflow.storage.writing.partition import Result, write_partition
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.extraction.committing import sources_of
from meldflow.tasks.extraction.inputs import wanted_utterances
from meldflow.tasks.options import ExtractOptions
from tests import fragile
from tests.paths import IMPORTS
from tests.proxy import Proxy, free_port
from tests.storage.kinds import s3_server
from tests.storage.truth import Digests, stored_rows

COLUMNS = ("split", "dialogue_id", "utterance_id", "text", "speaker", "emotion", "clip")
RESTART_SECONDS = 0.5
"""How soon a supervisor sees that a process is gone."""


class Service:
    """A process that is started again whenever it ends."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], log: Path) -> None:
        self._command, self._environment, self._log = command, environment, log
        self._lock = threading.Lock()
        self._wanted = False
        self._process: subprocess.Popen[bytes] | None = None
        self.starts = 0

    def start(self) -> None:
        """From here on it runs."""
        self._wanted = True
        self.look()

    def stop(self) -> None:
        """From here on it does not."""
        self._wanted = False
        self.kill()

    def look(self) -> None:
        """Starts it if it should run and does not."""
        with self._lock:
            if self._wanted and (self._process is None or self._process.poll() is not None):
                with self._log.open("ab") as log:
                    self._process = subprocess.Popen(
                        self._command,
                        env=self._environment,
                        cwd=self._log.parent,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                self.starts += 1

    def kill(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Ends the process, with the children that would outlive it; see ``look``."""
        with self._lock:
            if self._process is None or self._process.poll() is not None:
                return
            family = self.children
            self._process.send_signal(how)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            for child in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()

    @property
    def children(self) -> list[psutil.Process]:
        """Processes below it."""
        if self._process is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self._process.pid).children(recursive=True))
        return []


class Worker(Service):
    """A Dask worker below its nanny."""

    def kill_worker(self) -> bool:
        """SIGKILL for the worker alone: its nanny starts another; gives whether there was one."""
        found = self._workers()
        for one in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        # What was killed is there for a moment still, and would pass for the next one.
        wait_until(lambda: not set(found) & set(self._workers()), 20, "the worker is gone")
        return bool(found)

    def has_worker(self) -> bool:
        """Whether the nanny has a worker."""
        return bool(self._workers())

    def _workers(self) -> list[psutil.Process]:
        found = []
        for child in self.children:
            with contextlib.suppress(psutil.Error):
                alive = child.status() != psutil.STATUS_ZOMBIE
                if alive and "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found


class Rig:
    """The installation; see ``open_rig``."""

    def __init__(self, folder: Path, s3_port: int, workers: int) -> None:
        self.folder = folder
        prefect, scheduler = free_port(), free_port()
        self.network = {"prefect": Proxy(prefect), "s3": Proxy(s3_port)}
        self.api = f"http://127.0.0.1:{self.network['prefect'].port}/api"
        self._health = f"http://127.0.0.1:{prefect}/api/health"
        self._environment = self._clean_environment()
        self.cluster = folder / "cluster.yaml"
        address = f"tcp://127.0.0.1:{scheduler}"
        self.cluster.write_text(f"kind: address\naddress: {address}\n")
        port = ("--host", "127.0.0.1", "--port")
        quiet = {
            "DO_NOT_TRACK": "1",
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        }
        self.prefect = self._service(
            "prefect", "prefect", "server", "start", *port, str(prefect), **quiet
        )
        self.scheduler = self._service(
            "scheduler", "dask", "scheduler", *port, str(scheduler), "--no-dashboard"
        )
        self.workers = [self._worker(number, address) for number in range(workers)]
        self._ended = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, daemon=True)

    @property
    def services(self) -> list[Service]:
        """Whatever the supervisor keeps running."""
        return [self.prefect, self.scheduler, *self.workers]

    def start(self) -> None:
        """Starts everything, and waits until the Prefect server answers."""
        for service in self.services:
            service.start()
        self._supervisor.start()
        self.wait_for_prefect()

    def stop(self) -> None:
        """Ends everything."""
        self._ended.set()
        self._supervisor.join()
        for service in reversed(self.services):
            service.stop()
        for network in self.network.values():
            network.close()

    def wait_for_prefect(self) -> None:
        """Until the server answers."""
        wait_until(self._prefect_answers, 180, "the Prefect server answers")

    def run(self, dataset: Path, store: str, *arguments: str) -> Extract:
        """Starts `meldflow extract`."""
        number = len(list(self.folder.glob("run-*.err")))
        only = [part for one in fragile.EXTRACTORS for part in ("--only", one.spec.name)]
        command = [
            sys.executable,
            "-m",
            "meldflow.flows.cli.main",
            "extract",
            str(dataset),
            "--store",
            store,
        ]
        command += ["--cluster", str(self.cluster), *only, *arguments]
        out, err = (self.folder / f"run-{number}.{kind}" for kind in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                command,
                env=self._environment | {"PREFECT_API_URL": self.api, "COLUMNS": "200"},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        return Extract(process=process, store=store, out=out, err=err)

    def _clean_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PREFECT_", "DASK_"))}
        path = [str(fragile.announce(self.folder / "extractors")), IMPORTS]
        return inherited | {
            "PYTHONPATH": os.pathsep.join(path),
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.network['s3'].port}",
        }

    def _service(self, name: str, module: str, *arguments: str, **environment: str) -> Service:
        command = [sys.executable, "-P", "-m", module, *arguments]
        return Service(command, self._environment | environment, self.folder / f"{name}.log")

    def _worker(self, number: int, address: str) -> Worker:
        command = [sys.executable, "-m", "dask", "worker", address, "--nthreads", "1"]
        command += ["--name", f"worker-{number}", "--host", "127.0.0.1", "--no-dashboard"]
        command += ["--memory-limit", f"{fragile.MEBIBYTES}MiB", "--resources", "cpu=1 model=1"]
        return Worker(command, self._environment, self.folder / f"worker-{number}.log")

    def _supervise(self) -> None:
        while not self._ended.wait(RESTART_SECONDS):
            for service in self.services:
                service.look()

    def _prefect_answers(self) -> bool:
        return ask(self._health) is not None


@dataclass(kw_only=True)
class Extract:
    """A run of `meldflow extract`."""

    process: subprocess.Popen[bytes]
    store: str
    out: Path
    err: Path
    started: float = field(default_factory=time.monotonic)

    @property
    def running(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def wait_for_commits(self, partitions: int, seconds: float = 180) -> None:
        """Until so many partitions are on the run's branch, while the run goes on."""

        def there() -> bool:
            assert self.running, f"ended too early:\n{self.shown()}"
            return committed(self.store) >= partitions

        wait_until(there, seconds, f"{partitions} partitions are committed")

    def end(self, seconds: float = 300) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the run does not end:\n{self.shown()}") from None

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()
        self.process.wait()

    def shown(self) -> str:
        """What the person saw."""
        return self.out.read_text() + self.err.read_text()

    @property
    def message(self) -> str:
        """The line it failed with; empty where it said nothing, or something else."""
        lines = self.err.read_text().splitlines()
        found = [one for one in lines if one.startswith("meldflow: ")]
        return found[0] if len(found) == 1 and "Traceback" not in self.shown() else ""


@contextlib.contextmanager
def open_rig(
    folder: Path, *, workers: int = 2, s3: Callable[[], AbstractContextManager[str]] = s3_server
) -> Iterator[Rig]:
    """An installation that runs, with all its logs below ``folder``."""
    with s3() as address:
        rig = Rig(folder, int(address.rpartition(":")[2]), workers)
        try:
            rig.start()
            yield rig
        finally:
            rig.stop()


def write_dataset(file: Path, texts: Sequence[str]) -> Path:
    """A table of utterances without clips, ten to a dialogue."""
    with file.open("w", newline="") as content:
        table = csv.writer(content)
        table.writerow(
            ("split", "dialogue_id", "utterance_id", "text", "speaker", "emotion", "clip")
        )
        for number, text in enumerate(texts):
            split = ("train", "dev", "test")[number // 10 % 3]
            emotion = ("joy", "anger")[number % 2]
            table.writerow((split, number // 10, number % 10, text, "Ann", emotion, ""))
    return file


def texts(number: int, *, milliseconds: int, marked: dict[int, str] | None = None) -> list[str]:
    """Texts of utterances that take so long; ``marked``: row → what it asks for as well."""
    marked = marked or {}
    return [f"line {n} {milliseconds}ms {marked.get(n, '')}".strip() for n in range(number)]


def undisturbed(dataset: Path, store: Path, *, partition: int) -> Digests:
    """The rows of a store that was written in this process, without anything that could fail."""
    options = ExtractOptions(dataset=dataset, store=str(store))
    specs = [one.spec for one in fragile.EXTRACTORS]
    with open_run(str(store), specs, partition=partition) as run:
        run.sync(wanted_utterances(options, {}).utterances)
        sources, fork = sources_of(run.utterances), run.fork()
        for part in run.plan().partitions:
            results = {
                one.spec.name: {
                    row: Result(record=one.outcome(sources([row])[0].text), seconds=0.01)
                    for row in part.rows[one.spec.name]
                }
                for one in fragile.EXTRACTORS
            }
            run.merge(
                write_partition(fork, part.partition, results, specs, partition_size=run.partition)
            )
        run.publish()
    rows = stored_rows(open_store(str(store)))
    shutil.rmtree(store)
    return rows


def differences(store: str, truth: Digests) -> int:
    """Rows of a store's ``main`` that are not what they have to be, or too few, or too many."""
    held = stored_rows(open_store(store)) if exists(store) else {}
    return sum(held.get(row) != truth.get(row) for row in held.keys() | truth.keys())


def committed(store: str) -> int:
    """Partitions on a run's branch that are not on main."""
    if not exists(store):
        return 0
    repository = open_repository(store)
    branches = [one for one in repository.list_branches() if one.startswith("run-")]
    messages = [s.message for one in branches for s in repository.ancestry(branch=one)]
    return sum(int(m.split()[0]) for m in messages if m.endswith("partitions"))


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    """Asks again and again.

    Raises:
        TimeoutError: it did not become true in time.
    """
    deadline = time.monotonic() + seconds
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)
