from __future__ import annotations

import os
from pathlib import Path

import pytest
from dask.system import CPU_COUNT

from models.schema import UsageError
from tasks.cluster import ROLES, THREAD_VARIABLES, open_cluster, worker_count
from tasks.options import ClusterProfile, load_profile


def test_processes_times_threads_never_exceed_the_cores() -> None:
    for threads in (1, CPU_COUNT):
        assert worker_count(ClusterProfile(threads=threads)) * threads <= CPU_COUNT
    with pytest.raises(UsageError, match=f"exceed the {CPU_COUNT} cores"):
        worker_count(ClusterProfile(workers=CPU_COUNT + 1))


def test_a_local_cluster_offers_the_roles_and_sets_the_threads_before_torch() -> None:
    def environment() -> dict[str, str | None]:
        return {name: os.environ.get(name) for name in THREAD_VARIABLES}

    def torch_threads() -> int:
        import torch

        return torch.get_num_threads()

    with open_cluster(ClusterProfile(workers=1)) as client:
        (worker,) = client.scheduler_info(n_workers=-1)["workers"].values()
        assert worker["resources"] == dict.fromkeys(ROLES, 1)
        assert worker["nthreads"] == 1
        (found,) = client.run(environment).values()
        assert found == dict.fromkeys(THREAD_VARIABLES, "1")
        (threads,) = client.run(torch_threads).values()
        assert threads == 1


@pytest.mark.parametrize("file", ["local.yaml", "address.yaml"])
def test_the_profiles_in_deploy_are_valid(file: str) -> None:
    profile = load_profile(Path(__file__).parents[2] / "deploy" / "clusters" / file)
    assert profile.kind == file.removesuffix(".yaml")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("kind: cloud", "kind: Input should be 'local' or 'address'"),
        ("kind: address", "needs an `address`"),
        ("workers: 0", "workers: Input should be greater than or equal to 1"),
        ("worker: 3", "worker: Extra inputs are not permitted"),
        ("[", "not YAML"),
    ],
)
def test_profiles_that_are_none(tmp_path: Path, content: str, says: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(UsageError, match=r"p\.yaml") as refused:
        load_profile(tmp_path / "p.yaml")
    assert says in str(refused.value)
