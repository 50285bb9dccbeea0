"""A training on a cluster, through Prefect: what one sees of it, and what it survives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.bench.stores.training import write
from tests.flows import command
from tests.flows.servers import dask, flow_run, records, until

OPTIONS = ("--modalities", "text", "--seeds", "2", "--tracking", "none", "--json")


def found(report: Path) -> dict[str, Any]:
    """What a training found out, but for times."""
    record = json.loads((report / "results.json").read_text())
    for seed in record["seeds"]:
        del seed["durations"]
        for epoch in seed["history"]:
            del epoch["seconds"]
    times = ("started", "seconds", "read_seconds", "hardware")
    return {name: value for name, value in record.items() if name not in times}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    write(folder / "store", 1500)
    return folder / "store"


def worker_below(profile: Path) -> psutil.Process:
    """The worker process of the cluster in a folder; its nanny is its parent."""
    address = profile.read_text().rpartition("tcp://")[2].strip()
    nannies = [one for one in psutil.Process().children() if f"tcp://{address}" in one.cmdline()]
    (nanny,) = nannies
    (worker,) = [one for one in nanny.children() if "spawn_main" in " ".join(one.cmdline())]
    return worker


@pytest.mark.slow
def test_a_killed_worker_costs_a_fit_a_retry(api: str, store: Path, tmp_path: Path) -> None:
    with dask(tmp_path) as workers:
        whole, cut = tmp_path / "whole", tmp_path / "cut"
        arguments = ("train", store, *OPTIONS, "--cluster", workers.profile)
        command.run(*arguments, "--report", whole, cwd=tmp_path, api=api)
        process = command.start(*arguments, "--report", cut, cwd=tmp_path, api=api)
        states = cut / "checkpoints"
        until(lambda: (states / "all-seed-1.pt").exists() or process.poll() is not None, 120)
        worker_below(workers.profile).kill()
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
    assert found(cut) == found(whole)
    run = flow_run(api, "train-store")
    of_run = {"flow_run_id": {"any_": [run["id"]]}}
    logs = [log["message"] for log in records(api, "logs", logs=of_run)]
    assert any("worker cpu-0 is lost: its process ended" in one for one in logs)
    tasks = records(api, "task_runs", task_runs=of_run)
    fits = {one["name"]: one["state_type"] for one in tasks if one["name"].startswith("fit ")}
    expected = ["fit SVM alone: text", "fit all, seed 0", "fit all, seed 1"]
    assert fits == dict.fromkeys(expected, "COMPLETED")
