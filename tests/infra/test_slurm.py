"""The main job on a real Slurm: the flow as a job, which submits its workers as jobs."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests import fragile
from tests.infra.slurm import Slurm, User
from tests.paths import IMPORTS, ROOT
from tests.rig import committed, differences, texts, undisturbed, wait_until, write_dataset

pytestmark = pytest.mark.infra

SCRIPT = ROOT / "deploy" / "slurm" / "extract.sbatch"
ONLY = [part for one in fragile.EXTRACTORS for part in ("--only", one.spec.name)]
PARTITION = 4
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a user of the cluster has: a folder, an environment, a profile."""

    slurm: Slurm
    user: User
    folder: Path

    def profile(self, **cpu: object) -> None:
        jobs = {"jobs": 2, "memory": "2GiB", **cpu}
        profile = {"kind": "slurm", "host": "127.0.0.1", "python": self.python, "cpu": jobs}
        file = Path(self.user.environment["MELDFLOW_CLUSTER"])
        file.write_text(yaml.safe_dump(profile | {"logs": str(self.folder / "logs")}))

    @property
    def python(self) -> str:
        return self.user.environment["PYTHON"]

    @property
    def store(self) -> str:
        return str(self.folder / "store")

    def dataset(self, number: int, milliseconds: int) -> Path:
        lines = texts(number, milliseconds=milliseconds)
        return write_dataset(self.folder / "lines.csv", lines)

    def submit(self, dataset: Path, *options: str) -> int:
        arguments = (dataset, "--store", self.store, *ONLY, "--partition", str(PARTITION))
        where = {"user": self.user, "cwd": self.folder}
        return self.slurm.submit(SCRIPT, *arguments, *options, **where)  # type: ignore[arg-type]

    def said(self, job: int) -> str:
        return (self.folder / f"slurm-{job}.out").read_text()

    def until(self, true: Callable[[], bool], job: int, what: str, seconds: float = 240) -> None:
        """Waits for something to happen while a job runs."""

        def happened() -> bool:
            assert not self.slurm.ending(job), f"it ended before {what}:\n{self.said(job)}"
            return true()

        try:
            wait_until(happened, seconds, what)
        except TimeoutError as error:
            raise AssertionError(f"{error}\n{self.slurm.queue()}\n{self.said(job)}") from None

    def finish(self, job: int, seconds: float = 240) -> str:
        wait_until(lambda: bool(self.slurm.ending(job)), seconds, "the job is over")
        assert not list(self.folder.glob("tmp/meldflow-*")), "the job's home is still there"
        return self.slurm.ending(job)


def account_of(slurm: Slurm, folder: Path, python: str, *identity: str) -> Account:
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    meldflow = programs / "meldflow"
    meldflow.write_text(
        f'#!/bin/sh\nexec {shlex.quote(python)} -P -m meldflow.flows.cli.main "$@"\n'
    )
    meldflow.chmod(0o755)
    packages = [one for one in sys.path if one.endswith("site-packages")]
    known = [str(fragile.announce(folder / "extractors")), IMPORTS, *packages]
    environment = {
        "PATH": f"{programs}:{os.environ['PATH']}",
        "HOME": str(folder),
        "PYTHON": python,
        "LD_LIBRARY_PATH": str(folder / "lib"),
        "PYTHONPATH": os.pathsep.join(known),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MELDFLOW_CLUSTER": str(folder / "slurm.yaml"),
        "COLUMNS": "200",
        "LANG": "C.UTF-8",
        "TMPDIR": str(folder / "tmp"),
    }
    (folder / "tmp").mkdir(mode=0o777)
    user = User(identity=identity, environment=environment)
    account = Account(slurm=slurm, user=user, folder=folder)
    account.profile()
    return account


@pytest.fixture
def folder() -> Iterator[Path]:
    """One that every user may look into."""
    with tempfile.TemporaryDirectory(prefix="jobs-") as path:
        yield Path(path)


@pytest.fixture
def root(slurm: Slurm, folder: Path) -> Account:
    return account_of(slurm, folder, sys.executable)


@pytest.fixture
def nobody(slurm: Slurm, folder: Path) -> Account:
    """Neither root, nor one who may look into root's home, where Python may lie."""
    base, version = Path(sys.base_prefix), f"python3.{sys.version_info.minor}"
    for part in ("bin", "lib"):
        (folder / part).mkdir()
    shutil.copy(base / "bin" / version, folder / "bin")
    for shared in base.glob("lib/libpython*.so*"):
        shutil.copy(shared, folder / "lib")
    most = shutil.ignore_patterns("site-packages", "test", "__pycache__")
    shutil.copytree(base / "lib" / version, folder / "lib" / version, ignore=most)
    account = account_of(slurm, folder, str(folder / "bin" / version), *NOBODY)
    for one in (folder, *folder.rglob("*")):
        os.chown(one, 65534, 65534, follow_symlinks=False)
    return account


def test_a_user_submits_the_script_with_options(nobody: Account) -> None:
    dataset = nobody.dataset(24, 100)
    truth = undisturbed(dataset, nobody.folder / "truth", partition=PARTITION)
    job = nobody.submit(dataset, "--batch", "2")
    nobody.until(lambda: len(nobody.slurm.workers()) == 2, job, "two workers run")
    assert {one.user for one in nobody.slurm.queue()} == {"nobody"}
    assert nobody.finish(job) == "COMPLETED", nobody.said(job)
    wait_until(lambda: not nobody.slurm.queue(), 30, "the workers' jobs are gone")
    assert differences(nobody.store, truth) == 0
    assert "Traceback" not in nobody.said(job)
    assert {one.owner() for one in Path(nobody.store).rglob("*")} == {"nobody"}


def test_a_worker_that_is_cancelled_is_replaced(root: Account) -> None:
    root.profile(jobs=1)
    dataset = root.dataset(48, 250)
    truth = undisturbed(dataset, root.folder / "truth", partition=PARTITION)
    job = root.submit(dataset)
    root.until(lambda: committed(root.store) > 0, job, "rows are committed")
    (first,) = root.slurm.workers()
    root.slurm.cancel(first.number)
    root.until(lambda: root.slurm.workers() not in ([], [first]), job, "another worker runs")
    assert root.finish(job) == "COMPLETED", root.said(job)
    assert differences(root.store, truth) == 0


def test_a_worker_whose_time_is_up_is_replaced(root: Account) -> None:
    root.profile(jobs=1, walltime="00:01:00")
    dataset = root.dataset(120, 1000)
    truth = undisturbed(dataset, root.folder / "truth", partition=PARTITION)
    job = root.submit(dataset)
    root.until(lambda: bool(root.slurm.workers()), job, "a worker runs")
    (first,) = root.slurm.workers()
    assert root.finish(job, 600) == "COMPLETED", root.said(job)
    assert root.slurm.ending(first.number) == "TIMEOUT"
    assert differences(root.store, truth) == 0


def test_a_flow_that_is_cancelled_takes_its_workers_along(root: Account) -> None:
    dataset = root.dataset(48, 250)
    truth = undisturbed(dataset, root.folder / "truth", partition=PARTITION)
    job = root.submit(dataset)
    root.until(lambda: committed(root.store) > 0, job, "rows are committed")
    root.slurm.cancel(job)
    wait_until(lambda: not root.slurm.queue(), 45, "all jobs are gone")
    root.finish(job)
    again = root.submit(dataset)
    assert root.finish(again) == "COMPLETED", root.said(again)
    assert "resumed" in root.said(again)
    assert differences(root.store, truth) == 0


def test_a_profile_that_slurm_refuses_leaves_nothing_behind(root: Account) -> None:
    root.profile(queue="no-such-queue")
    job = root.submit(root.dataset(4, 10))
    assert root.finish(job) == "FAILED"
    assert "Slurm takes no jobs: sbatch: error: " in root.said(job)
    assert "Traceback" not in root.said(job)
    root.profile()
    again = root.submit(root.dataset(4, 10))
    assert root.finish(again) == "COMPLETED", root.said(again)
    assert "resumed" not in root.said(again)
