"""The Slurm profile with a Slurm of shell scripts, which runs the jobs as processes here."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask
import pytest
import yaml

from meldflow.models.schema.errors import UsageError
from meldflow.storage import open_store
from meldflow.tasks.cluster import elastic
from meldflow.tasks.cluster.connection import Cluster, open_cluster
from meldflow.tasks.cluster.profile import Adaptive, load_profile
from meldflow.tasks.cluster.slurm import CpuJobs, GpuJobs, Slurm
from tests.flows import command
from tests.paths import ROOT
from tests.tasks.cluster.processes import wait_until
from tests.tasks.dataset.standins import LAYOUTS, Tree, invented

SCRIPTS = Path(__file__).parent / "slurm"
WALL = "00:10:00"


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of the jobs; whatever still runs is killed."""
    folder = tmp_path / "jobs"
    folder.mkdir()
    monkeypatch.setenv("FAKE_SLURM", str(folder))
    monkeypatch.setenv("PATH", f"{SCRIPTS}:{os.environ['PATH']}")
    yield folder
    for file in folder.glob("*.pid"):
        try:
            os.killpg(int(file.read_text()), signal.SIGKILL)
        except ProcessLookupError:
            continue


def profile(folder: Path, **fields: Any) -> Slurm:
    return Slurm(kind="slurm", host="127.0.0.1", join_seconds=60, logs=folder / "logs", **fields)


def directives(script: Path) -> set[str]:
    lines = script.read_text().splitlines()
    return {line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")}


def place() -> tuple[str, str | None, str | None]:
    from distributed import get_worker

    name = str(get_worker().name)
    return name, os.environ.get("SLURM_JOB_ID"), os.environ.get("OMP_NUM_THREADS")


@pytest.mark.slow
def test_two_kinds_of_job_serve_one_scheduler(slurm: Path) -> None:
    cpu = CpuJobs(processes=2, walltime=WALL, queue="short", account="us", memory="2GiB")
    gpu = GpuJobs(gres="gpu:a100:1", threads=2, options=("--exclusive",))
    with open_cluster(profile(slurm, cpu=cpu, gpu=gpu)) as cluster:
        wait_until(lambda: len(cluster.client.nthreads()) == 3)
        assert not cluster.is_uniform
        where = {
            role: {
                future.result()
                for future in [
                    cluster.client.submit(place, resources={role: 1}, pure=False) for _ in range(6)
                ]
            }
            for role in ("cpu", "model")
        }
    assert {name for name, _, _ in where["cpu"]} <= {"cpu-0-0", "cpu-0-1"}
    assert {name for name, _, _ in where["model"]} == {"gpu-0"}
    assert {threads for _, _, threads in where["model"]} == {"2"}
    said = {frozenset(directives(script)) for script in slurm.glob("*.sh")}
    short = {"-p short", "-A us", "--cpus-per-task=2", "--mem=2G", f"-t {WALL}", "-n 1"}
    assert any(short <= one for one in said)
    assert any({"--gres=gpu:a100:1", "--cpus-per-task=2", "--exclusive"} <= one for one in said)
    assert sorted((slurm / "cancelled").read_text().split()) == ["1", "2"]


@pytest.mark.slow
def test_a_job_that_ends_is_submitted_anew(slurm: Path) -> None:
    soon = {"distributed.deploy.lost-worker-timeout": "1s"}
    with dask.config.set(soon), open_cluster(profile(slurm)) as cluster:
        os.killpg(int((slurm / "1.pid").read_text()), signal.SIGKILL)
        wait_until((slurm / "2.pid").exists)
        name, job, _ = cluster.client.submit(place, pure=False).result(60)
        assert (name, job) == ("cpu-0", "2")


@pytest.mark.slow
def test_jobs_follow_the_work_as_a_whole(slurm: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers to a job: neither goes while the other is at something."""
    monkeypatch.setattr(elastic, "IDLE_LOOKS", 3)
    more = profile(slurm, cpu=CpuJobs(processes=2), adaptive=Adaptive(minimum=1, maximum=2))
    gate = slurm / "gate"
    with open_cluster(more) as cluster:
        assert cluster.width() == 3
        wait_until(lambda: workers(cluster) == 2)
        where = {"cpu": 1}
        short = cluster.client.map(time.sleep, [0.5] * 60, resources=where, pure=False)
        wait_until(lambda: workers(cluster) == 4, 60)
        long = cluster.client.submit(until, str(gate), resources=where, pure=False)
        assert cluster.client.gather(short) == [None] * 60
        wait_until(lambda: workers(cluster) == 2, 60)
        assert long.status == "pending"
        gate.touch()
        assert long.result(30).startswith("cpu-")
        time.sleep(3)
        assert workers(cluster) == 2, "the fewest"
    assert len(list(slurm.glob("*.sh"))) == 2, "what was ended is not submitted anew"


def workers(cluster: Cluster) -> int:
    return len(cluster.client.nthreads())


def until(file: str) -> str:
    while not Path(file).exists():
        time.sleep(0.1)
    return place()[0]


@pytest.mark.slow  # tests/infra has it on a real Slurm
def test_the_whole_flow(slurm: Path, tmp_path: Path) -> None:
    tree = Tree(tmp_path / "meld", invented(1), LAYOUTS["flat"], random.Random(0))
    tree.write()
    file = tmp_path / "slurm.yaml"
    fields = profile(slurm, cpu=CpuJobs(jobs=2)).model_dump(mode="json", exclude_defaults=True)
    file.write_text(yaml.safe_dump({"kind": "slurm", **fields}))
    command.run(
        *("extract", tree.root, "--store", tmp_path / "store", "--only", "audio/librosa"),
        *("--cluster", file),
        cwd=tmp_path,
    )
    state = open_store(str(tmp_path / "store")).state("audio/librosa")
    assert len(state["reason"]) == 12
    scripts = [one.read_text() for one in slurm.glob("*.sh")]
    assert len(scripts) == 2
    for script in scripts:
        assert "--tls-cert" in script
        assert "tls://127.0.0.1:" in script
    assert not list((slurm / "logs").glob(".tls-*")), "the run's certificates end with it"


def test_what_slurm_says_is_passed_on(slurm: Path) -> None:
    (slurm / "refuse").touch()
    with pytest.raises(UsageError) as refused, open_cluster(profile(slurm)):
        pass
    why = "sbatch: error: Batch job submission failed: Invalid account"
    assert str(refused.value) == f"cluster: Slurm takes no jobs: {why}"


def test_ctrl_c_still_interrupts_once_jobqueue_is_there() -> None:
    code = (
        "import signal; from meldflow.tasks.cluster.slurm import _job_class; _job_class(); "
        "assert signal.getsignal(signal.SIGINT) is signal.default_int_handler"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_without_slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="sbatch is not on PATH; start the run on a login node"):
        load_profile(str(ROOT / "deploy" / "clusters" / "slurm.yaml")).check()
