from __future__ import annotations

import os
from pathlib import Path

import pytest
from dask.system import CPU_COUNT

from models.schema import UsageError
from tasks.cluster import open_cluster
from tasks.clusters.environment import THREAD_VARIABLES
from tasks.clusters.local import Local
from tasks.clusters.profile import load_profile
from tasks.clusters.roles import ROLES


def test_processes_times_threads_never_exceed_the_cores() -> None:
    for threads in (1, CPU_COUNT):
        assert Local(threads=threads).worker_count() * threads <= CPU_COUNT
    with pytest.raises(UsageError, match=f"exceed the {CPU_COUNT} cores"):
        Local(workers=CPU_COUNT + 1).check()


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


@pytest.mark.parametrize("file", ["local.yaml", "address.yaml"])
def test_the_profiles_in_deploy_are_valid(file: str) -> None:
    profile = load_profile(str(Path(__file__).parents[2] / "deploy" / "clusters" / file))
    assert profile.kind == file.removesuffix(".yaml")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("kind: cloud", "kind 'cloud' is none; known: local, address"),
        ("kind: address", "address: Field required"),
        ("workers: 0", "workers: Input should be greater than or equal to 1"),
        ("worker: 3", "worker: Extra inputs are not permitted"),
        ("[", "not YAML"),
    ],
)
def test_profiles_that_are_none(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"p\.yaml") as refused:
        load_profile(str(tmp_path / "p.yaml"))
    assert says in str(refused.value)
