"""How runs end that somebody stops, or that may not begin."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from meldflow.storage.places.location import writer_lock
from tests.flows import command
from tests.flows.servers import Workers, records, until

ONLY = ("--only", "audio/librosa", "--partition", "4", "--batch", "2")


def test_ctrl_c_ends_in_one_line_and_frees_the_store(
    api: str, demo: Path, workers: Workers, tmp_path: Path
) -> None:
    store = tmp_path / "stopped"
    (tmp_path / "own.yaml").write_text("kind: local\nworkers: 1\n")
    arguments = ("extract", demo, "--store", store, *ONLY)
    process = command.start(*arguments, "--cluster", "own.yaml", cwd=tmp_path, api=api)
    named = {"name": {"like_": "stopped"}}
    until(lambda: bool(records(api, "task_runs", flow_runs=named)), 120)
    process.send_signal(signal.SIGINT)
    _, shown = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in shown
    assert "goes on from there" in shown
    command.run(*arguments, "--cluster", workers.profile, cwd=tmp_path, api=api)


def test_a_second_run_on_the_same_store_is_refused_at_once(
    api: str, demo: Path, workers: Workers, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    arguments = ("extract", demo, "--store", store, *ONLY, "--cluster", workers.profile)
    with writer_lock(str(store)):
        second = command.run(*arguments, cwd=tmp_path, code=2, api=api)
    assert f"another run is writing to it (process {os.getpid()} on " in second.stderr


def test_a_server_that_does_not_answer_is_named(demo: Path, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/api"
    arguments = ("extract", demo, "--store", tmp_path / "store", *ONLY)
    done = command.run(*arguments, cwd=tmp_path, code=2, api=nowhere)
    assert f"prefect server {nowhere}: it does not answer" in done.stderr
