from __future__ import annotations

import logging
from pathlib import Path

import pytest

from meldflow.models.extractors.registry import packages
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.profile import Address
from meldflow.tasks.cluster.versions import differences, versions_here
from tests.tasks.cluster.processes import Processes, pretend, scheduler, wait_until


def join(processes: Processes) -> Address:
    return Address(kind="address", address=processes.address, join_seconds=30)


def test_builds_and_patches_of_python_may_differ() -> None:
    here = versions_here()
    assert here["python"].count(".") == 1
    assert "+" not in here["torch"]
    assert {"meldflow", "dask", "distributed", "cloudpickle", "zarr", "icechunk"} <= here.keys()
    assert differences(here, here) == ""
    assert differences({**here, "zarr": "2.0"}, here) == f"zarr 2.0 instead of {here['zarr']}"


def test_the_packages_of_an_extractor_are_it_and_what_it_requires(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "other-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: other\nVersion: 1.5\nRequires-Dist: tokens>=2; python_version"
        " > '3'\nRequires-Dist: pytest ; extra == 'dev'\n"
    )
    (about / "entry_points.txt").write_text("[meldflow.extractors]\ntext/other = other:Other\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert packages(["text/other", "text/minilm"]) == ("other", "tokens")


def test_a_worker_without_the_package_of_an_extractor_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = pretend(tmp_path / "there", "meldflow-other", "1.5")
    monkeypatch.syspath_prepend(tmp_path / "there")
    with scheduler(tmp_path, there) as processes:
        processes.worker("full", "cpu=1", there)
        processes.worker("bare", "model=1")
        says = r"worker bare at tcp://\S+ runs no meldflow-other instead of 1\.5; install there"
        with (
            pytest.raises(UsageError, match=says),
            open_cluster(join(processes), ["meldflow-other"]),
        ):
            pass


@pytest.mark.parametrize("package", ["meldflow", "numpy"])
def test_a_worker_of_another_version_ends_the_run_in_one_line(tmp_path: Path, package: str) -> None:
    with scheduler(tmp_path) as processes:
        processes.worker("right", "cpu=1")
        processes.worker("wrong", "model=1", pretend(tmp_path / "other", package, "0.0.7"))
        with pytest.raises(UsageError) as refused, open_cluster(join(processes)):
            pass
    line = str(refused.value)
    assert line.startswith("cluster: worker wrong at tcp://127.0.0.1:")
    assert f"{package} 0.0.7 instead of {versions_here()[package]}" in line
    assert "\n" not in line


def test_so_does_a_scheduler(tmp_path: Path) -> None:
    other = pretend(tmp_path / "other", "meldflow", "0.0.7")
    with scheduler(tmp_path, other) as processes:
        says = r"the scheduler runs meldflow 0\.0\.7 instead of"
        with pytest.raises(UsageError, match=says), open_cluster(join(processes)):
            pass


def test_a_worker_without_meldflow_is_refused(tmp_path: Path) -> None:
    """Its folder of ours cannot be imported."""
    broken = tmp_path / "other" / "meldflow"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("")
    with scheduler(tmp_path) as processes:
        processes.worker("right", "cpu=1")
        processes.worker("wrong", "model=1", {"PYTHONPATH": str(broken.parent)})
        says = r"worker wrong .* does not run this meldflow"
        with pytest.raises(UsageError, match=says), open_cluster(join(processes)):
            pass


def test_workers_that_join_later_are_checked_before_they_do_anything(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with scheduler(tmp_path) as processes:
        processes.worker("right", "cpu=1 model=1")
        with caplog.at_level(logging.WARNING, "meldflow"), open_cluster(join(processes)) as cluster:
            late = processes.worker("late", "gpu=1", pretend(tmp_path / "other", "zarr", "2.0"))
            task = cluster.client.submit(versions_here, resources={"gpu": 1}, pure=False)
            late.wait(60)
            wait_until(lambda: "refused" in caplog.text)
            assert not task.done()
            names = {w["name"] for w in cluster.client.scheduler_info(-1)["workers"].values()}
            assert names == {"right"}
    assert "worker late at tcp://" in caplog.text
    assert "zarr 2.0 instead of" in caplog.text
