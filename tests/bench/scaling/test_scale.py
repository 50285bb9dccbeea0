"""Orchestration and scaling, measured for real; when workers count as busy, by hand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from meldflow.models.schema.errors import UsageError
from tests.bench import command
from tests.bench.cli import numbers
from tests.bench.scaling.busy import Busy
from tests.bench.scaling.noop import NOTHING
from tests.bench.scaling.scale import Scaling, Simulated


def _task(worker: str, key: str, start: float, stop: float) -> dict[str, Any]:
    moved = {"action": "transfer", "start": start - 5, "stop": start}
    computed = {"action": "compute", "start": start, "stop": stop}
    return {"worker": worker, "key": key, "startstops": [moved, computed]}


def test_steady_until_the_first_worker_has_had_its_last_batch() -> None:
    stream = [
        *(_task("a", f"load_and_encode-p1-{n}", 10 + 4 * n, 14 + 4 * n) for n in range(3)),
        _task("b", "load_and_encode-p1-3", 20, 20.5),  # its texts
        _task("b", "load_and_encode-p2-0", 10, 15),
        _task("b", "load_and_encode-p2-1", 16, 20),
        _task("a", "load_and_encode-p2-2", 22, 22.5),
        _task("b", "write-p2", 20.5, 21),
        _task("a", "write-p1", 22.5, 24),
    ]
    busy = Busy.of(stream, clip_pause=0.5, text_pause=0.01)
    assert (busy.start, busy.steady_stop, busy.stop) == (10, 20, 24)
    assert busy.steady_seconds == 10
    assert (busy.workers, busy.fewest) == (2, 2)
    # Each batch was to take 4 s: two and a half on a, two on b; no texts yet.
    assert busy.slept == pytest.approx(4.5 * 4)


def test_texts_count_for_what_they_were_to_take() -> None:
    stream = [
        _task("a", "load_and_encode-p1-2", 0, 1),  # texts of 16 utterances
        _task("a", "load_and_encode-p1-0", 1, 5),
        _task("a", "load_and_encode-p1-1", 5, 9),
    ]
    assert Busy.of(stream, clip_pause=0.5, text_pause=0.05).slept == pytest.approx(8 + 0.8)


def _simulated(workers: int, efficiency: float) -> Simulated:
    return Simulated(
        workers=workers,
        clips=48 * workers,
        partitions=workers,
        seconds=2.0,
        steady_seconds=1.0,
        busy_seconds=1.0,
        clips_per_second=1.0,
        efficiency=efficiency,
        busy_efficiency=efficiency,
        cores={},
    )


@pytest.mark.parametrize(
    ("efficiencies", "until"),
    [((0.99, 0.95, 0.9), 16), ((0.99, 0.8, 0.95), 4), ((0.5, 0.95, 0.95), 0)],
)
def test_linear_until_efficiency_first_falls(efficiencies: tuple[float, ...], until: int) -> None:
    simulated = map(_simulated, (4, 8, 16), efficiencies)
    found = Scaling(real=(), clip_seconds=1.0, simulated=tuple(simulated))
    assert (found.linear_until, found.factor) == (until, None)


@pytest.mark.slow
def test_orchestration_is_measured_and_every_task_run_accounted_for(tmp_path: Path) -> None:
    found = command.measured("orchestrate", "--utterances", "300", cwd=tmp_path)
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
    code = "from meldflow.models.extractors import registry; print(*registry.names())"
    known = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {one.name for one in NOTHING} & set(known.stdout.split())


@pytest.mark.slow
def test_scaling_is_measured_on_real_workers_and_on_simulated_ones(tmp_path: Path) -> None:
    found = command.measured("scale", "--seconds", "0.02", "--workers", "3,2", cwd=tmp_path)
    assert (found["real"], found["factor"], found["clip_seconds"]) == ([], None, 0.02)
    few, more = found["simulated"]
    assert (few["workers"], few["clips"], few["partitions"]) == (2, 96, 2)
    assert (more["workers"], more["clips"], more["partitions"]) == (3, 144, 3)
    for one in (few, more):
        assert set(one["cores"]) == {"flow", "server", "scheduler", "workers"}
        assert 0 < one["busy_efficiency"] <= 1  # nobody sleeps faster than told
        assert 0 < one["efficiency"] <= 1
        assert 48 * 0.02 <= one["busy_seconds"] <= one["seconds"]
        assert one["steady_seconds"] <= one["busy_seconds"]
    assert found["linear_until"] in (0, 2, 3)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_two_real_workers_extract_the_clips_that_one_does(tmp_path: Path) -> None:
    few = ("--clips", "4", "--rounds", "1", "--workers", "1")
    found = command.measured("scale", *few, cwd=tmp_path)
    one, two = found["real"]
    assert (one["workers"], two["workers"]) == (1, 2)
    for real in (one, two):
        assert (real["clips"], len(real["seconds"])) == (4, 1)
        assert real["clips_per_second"] > 0
    assert found["factor"] == pytest.approx(
        two["clips_per_second"] / one["clips_per_second"], rel=0.01
    )
    slept = sum(two["stage_seconds"].values())
    assert found["clip_seconds"] == pytest.approx(slept, rel=0.01)
    assert [simulated["workers"] for simulated in found["simulated"]] == [1]


@pytest.mark.parametrize("given", ["4,many", "4,0", ""])
def test_what_are_no_workers_is_told(given: str) -> None:
    with pytest.raises(UsageError, match=f"--workers {given}: not numbers"):
        numbers("--workers", given)
    assert numbers("--workers", "4, 16") == [4, 16]
