"""What the Prefect server knows of a run: a task run per partition, the workers' logs."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from meldflow.storage import open_store
from meldflow.tasks.demo.dataset import synthesise
from tests.flows import command
from tests.flows.servers import flow_run, records

ONLY = ("--only", "audio/librosa", "--partition", "4", "--batch", "2")


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A small data set with one clip that cannot be read."""
    synthesise(tmp_path / "data", dialogues=3, seed=5)
    (tmp_path / "data" / "train_splits" / "dia0_utt1.mp4").write_text("not a film")
    return tmp_path / "data"


def test_a_partition_is_a_task_run_and_workers_log_into_the_run(
    api: str, dataset: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    command.run("extract", dataset, "--store", store, *ONLY, cwd=tmp_path, api=api)
    run = flow_run(api, f"extract-{store}")
    assert run["state_type"] == "COMPLETED"
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    partitions = -(-len(open_store(str(store)).rows()) // 4)
    tasks = {one["name"]: one["state_type"] for one in records(api, "task_runs", **of_run)}
    assert tasks == {f"partition-{n:04d}": "COMPLETED" for n in range(partitions)}
    logs = records(api, "logs", logs={"flow_run_id": {"any_": [run["id"]]}})
    worker_logs = [log["message"] for log in logs if log["name"] == "meldflow.stages"]
    assert any("train/dia0_utt1 audio/librosa: unreadable" in one for one in worker_logs)
    assert any("loading audio/librosa" in one for one in worker_logs)


def test_too_many_failures_fail_the_run_and_leave_main_alone(
    api: str, dataset: Path, tmp_path: Path
) -> None:
    for clip in dataset.rglob("*.mp4"):
        clip.write_text("not a film")
    store = tmp_path / "store"
    done = command.run("extract", dataset, "--store", store, *ONLY, cwd=tmp_path, code=1, api=api)
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("meldflow: ")]
    assert "audio/librosa failed on" in message
    assert "unreadable" in message
    assert flow_run(api, f"extract-{store}")["state_type"] == "FAILED"
    assert open_store(str(store)).is_empty


def test_ctrl_c_ends_in_one_line_and_frees_the_store(
    api: str, dataset: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    arguments = ("extract", dataset, "--store", store, *ONLY)
    process = command.start(*arguments, cwd=tmp_path, api=api)
    while not records(api, "task_runs", flow_runs={"name": {"any_": [f"extract-{store}"]}}):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in shown
    assert "goes on from there" in shown
    command.run(*arguments, cwd=tmp_path, api=api)


def test_a_second_run_on_the_same_store_is_refused_at_once(
    api: str, dataset: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    arguments = ("extract", dataset, "--store", store, *ONLY)
    first = command.start(*arguments, cwd=tmp_path, api=api)
    while not records(api, "task_runs", flow_runs={"name": {"any_": [f"extract-{store}"]}}):
        assert first.poll() is None
    second = command.run(*arguments, cwd=tmp_path, code=2, api=api)
    assert f"another run is writing to it (process {first.pid} on " in second.stderr
    first.communicate(timeout=300)
    assert first.returncode == 0


def test_a_server_that_does_not_answer_is_named(dataset: Path, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/api"
    arguments = ("extract", dataset, "--store", tmp_path / "store", *ONLY)
    done = command.run(*arguments, cwd=tmp_path, code=2, api=nowhere)
    assert f"prefect server {nowhere}: it does not answer" in done.stderr
