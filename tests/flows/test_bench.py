"""The benches, on corpora of a few utterances."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tasks.bench.noop import NOTHING
from tests.flows import command


def test_orchestration_is_measured_and_every_task_run_accounted_for(tmp_path: Path) -> None:
    done = command.run("bench", "orchestrate", "--utterances", "300", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    assert found["utterances"] == 300
    assert found["task_runs_lost"] == 0
    (size,) = found["sizes"]
    assert size["partitions"] == 5
    processes = {"flow", "server", "scheduler", "workers"}
    for one in (size, found["fixed"]):
        assert set(one["cpu_seconds"]) == set(one["peak_mb"]) == processes
        assert min(one["cpu_seconds"].values()) > 0
    assert found["cpu_ms_per_utterance"] == size["cpu_ms_per_utterance"]
    assert min(found["flow_peak_mb"], found["server_peak_mb"]) > 50
    assert list(tmp_path.iterdir()) == []


def test_no_user_meets_the_extractors_that_do_nothing() -> None:
    code = "from models import registry; print(*registry.names())"
    known = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {one.name for one in NOTHING} & set(known.stdout.split())
