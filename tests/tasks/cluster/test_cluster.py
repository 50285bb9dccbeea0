from __future__ import annotations

import os
import time
from pathlib import Path

import dask
import pytest
import torch
from dask.system import CPU_COUNT

from meldflow.flows.serving.site.home import Home
from meldflow.flows.serving.site.services import Site, dask_workers
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster import local
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.environment import ROLES, THREAD_VARIABLES, WORKER_BYTES
from meldflow.tasks.cluster.local import Local, visible_gpus
from meldflow.tasks.cluster.profile import KINDS, Adaptive, load_profile
from tests.paths import ROOT
from tests.tasks.cluster.processes import wait_until


def test_processes_times_threads_never_exceed_the_cores() -> None:
    for threads in (1, CPU_COUNT):
        assert Local(threads=threads).worker_count() * threads <= CPU_COUNT
    with pytest.raises(UsageError, match=f"exceed the {CPU_COUNT} cores"):
        Local(workers=CPU_COUNT + 1).check()
    with pytest.raises(UsageError, match=f"exceed the {CPU_COUNT} cores"):
        Local(adaptive=Adaptive(maximum=CPU_COUNT + 1)).check()
    with pytest.raises(UsageError, match="scales workers that are all alike"):
        Local(adaptive=Adaptive(maximum=1), gpus=1).check()


def test_a_local_cluster_offers_the_roles_and_sets_the_threads_before_torch() -> None:
    def environment() -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in THREAD_VARIABLES}

    def torch_threads() -> int:
        import torch

        return torch.get_num_threads()

    with open_cluster(Local(workers=1)) as cluster:
        client = cluster.client
        (worker,) = client.scheduler_info(n_workers=-1)["workers"].values()
        assert worker["resources"] == dict.fromkeys(ROLES, 1)
        assert worker["nthreads"] == 1
        (found,) = client.run(environment).values()
        assert found == dict.fromkeys(THREAD_VARIABLES, "1")
        (threads,) = client.run(torch_threads).values()
        assert threads == 1


def test_a_worker_that_dies_comes_back_however_long_that_takes() -> None:
    """One that died twice in a quarter of a minute did not, and a run of one worker hung."""
    soon = {"distributed.deploy.lost-worker-timeout": "100ms"}
    with dask.config.set(soon), open_cluster(Local(workers=1)) as cluster:
        (before,) = cluster.client.nthreads()
        cluster.client.submit(os._exit, 1)
        wait_until(lambda: set(cluster.client.nthreads()) - {before})
        time.sleep(1)
        assert len(cluster.client.nthreads()) == 1


def test_networks_run_on_gpu_workers_only() -> None:
    """A simulated one: what is said of roles does not depend on the device."""

    def place() -> tuple[str, str | None]:
        from distributed import get_worker

        return str(get_worker().name), os.environ.get("CUDA_VISIBLE_DEVICES")

    with open_cluster(Local(workers=CPU_COUNT, gpus=1)) as cluster:
        assert not cluster.is_uniform
        seen = {}
        for role in ROLES:
            tasks = [cluster.client.submit(place, resources={role: 1}, pure=False) for _ in "12345"]
            seen[role] = {task.result() for task in tasks}
        allowed = cluster.client.run_on_scheduler(
            lambda dask_scheduler: dask_scheduler.allowed_failures
        )
    assert seen["model"] == {("gpu-0", "")}
    assert seen["cpu"] <= {(f"cpu-{n}", "") for n in range(CPU_COUNT)}
    assert allowed == 1


def test_gpus_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="device cuda, and 0 GPUs are to be seen here"):
        Local(device="cuda").check()
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'GPU 0: One (UUID: a)'\necho 'GPU 1: Two (UUID: b)'\n")
    tool.chmod(0o755)
    specs = Local(device="cuda", workers=1).worker_specs()
    assert {
        name: spec["options"]["env"]["CUDA_VISIBLE_DEVICES"] for name, spec in specs.items()
    } == {
        "cpu-0": "0",  # whose video decoder it may use
        "gpu-0": "0",
        "gpu-1": "1",
    }
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    assert [*Local(device="cuda", workers=1).worker_specs()] == ["cpu-0", "gpu-0"]
    with pytest.raises(UsageError, match="1 GPUs are to be seen here where 2 are wanted"):
        Local(device="cuda", gpus=2).check()


def test_the_profiles_in_deploy_are_valid() -> None:
    folder = ROOT / "deploy" / "clusters"
    assert {file.stem for file in folder.glob("*.yaml")} == KINDS.keys()
    for file in folder.iterdir():
        assert load_profile(str(file)).kind == file.stem


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("kind: cloud", "kind 'cloud' is none; known: local, address, kubernetes, slurm"),
        ("kind: address", "address: Field required"),
        ("workers: 0", "workers: Input should be greater than or equal to 1"),
        ("worker: 3", "worker: Extra inputs are not permitted"),
        ("kind: slurm\ncpu: {jobs: 0}", "cpu.jobs: Input should be greater than or equal to 1"),
        ("kind: slurm\ncpu: {memory: lots}", "cpu.memory: String should match pattern"),
        ("kind: slurm\ngpu: {processes: 4}", "gpu.processes: Extra inputs are not permitted"),
        ("kind: kubernetes", "image: Field required"),
        ("kind: kubernetes\nimage: m\nnamespace: A_B", "namespace: String should match pattern"),
        ("kind: kubernetes\nimage: m\ncpu: {memory: 4GiB}", "cpu.memory: String should match"),
        ("adaptive: {minimum: 1}", "adaptive.maximum: Field required"),
        ("adaptive: {minimum: 0, maximum: 2}", "adaptive.minimum: Input should be greater than"),
        ("adaptive: {minimum: 3, maximum: 2}", "adaptive: minimum 3 exceeds maximum 2"),
        (
            "kind: address\naddress: tcp://x\nadaptive: {maximum: 2}",
            "adaptive: Input should be",
        ),
        ("[", "not YAML"),
    ],
)
def test_profiles_that_are_none(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"p\.yaml") as refused:
        load_profile(str(tmp_path / "p.yaml"))
    assert says in str(refused.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU that can be used")
def test_a_gpu_that_torch_cannot_use_is_told_before_the_run(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    with (
        pytest.raises(UsageError, match="the GPU of worker gpu-0 cannot be used"),
        open_cluster(Local(device="cuda", workers=1)),
    ):
        pass


@pytest.mark.parametrize(
    ("named", "seen"), [("", []), ("-1", []), ("2,0", ["2", "0"]), ("1,-1,0", ["1"])]
)
def test_gpus_are_hidden_as_cuda_hides_them(
    monkeypatch: pytest.MonkeyPatch, named: str, seen: list[str]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", named)
    assert visible_gpus() == seen


def test_workers_share_the_memory_among_them_and_not_by_cores(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Dask's default, a core's share, would be less than the networks need."""
    memory = 16 * 2**30
    monkeypatch.setattr(local, "CPU_COUNT", 16)
    monkeypatch.setattr(local, "MEMORY_LIMIT", memory)
    site = Site(home=Home(tmp_path), gpus=("0",))
    assert site.cpu_workers == 4
    for one in dask_workers(site):
        limit = int(one.command[one.command.index("--memory-limit") + 1])
        assert limit == memory // 5 >= WORKER_BYTES
    specs = Local(workers=None, gpus=1).worker_specs()
    assert {one["options"]["memory_limit"] for one in specs.values()} == {memory // 5}
