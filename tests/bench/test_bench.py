"""The benches, on corpora of a few utterances."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from itertools import product
from pathlib import Path

import pytest

from meldflow.models.running.computing import BACKENDS, PRECISIONS
from tests.bench.noop import NOTHING
from tests.bench.pitch import tone
from tests.bench.precision import ARRAYS, PROMISED
from tests.flows import command


@pytest.mark.slow
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


@pytest.mark.slow
def test_scaling_is_measured_on_real_workers_and_on_simulated_ones(tmp_path: Path) -> None:
    done = command.run(
        *("bench", "scale", "--seconds", "0.02", "--workers", "3,2", "--json"), cwd=tmp_path
    )
    found = json.loads(done.stdout)
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
    done = command.run(
        *("bench", "scale", "--clips", "4", "--rounds", "1", "--workers", "1", "--json"),
        cwd=tmp_path,
    )
    found = json.loads(done.stdout)
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


def test_what_cannot_be_scaled_is_told_in_one_line(tmp_path: Path) -> None:
    wrong = command.run("bench", "scale", "--workers", "4,many", cwd=tmp_path, code=2)
    assert "--workers 4,many" in wrong.stderr
    (tmp_path / "one.mp4").touch()
    few = command.run("bench", "scale", tmp_path, "--clips", "2", cwd=tmp_path, code=2)
    assert "none of its utterances has a clip" in few.stderr


@pytest.mark.slow
def test_fidelity_is_told_for_known_pitch_and_for_speech(tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    with wave.open(str(speech), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((tone(150.0, 10) * 32_767).astype("<i2").tobytes())
    done = command.run(
        *("bench", "fidelity", "--clips", "0", "--speech", speech, "--json"), cwd=tmp_path
    )
    found = json.loads(done.stdout)
    assert (found["networks"], found["lowest_cosine"]) == ([], None)
    kinds = {one["name"]: one for one in found["pitch"]}
    assert {"pure tones", "demo's voices, neutral", "speech"} <= set(kinds)
    assert kinds["speech"]["against_truth"] == {}
    assert kinds["speech"]["between"]["close"] == 1
    neutral = kinds["demo's voices, neutral"]["against_truth"]["yin"]
    assert neutral["voicing"] > 0.95
    assert neutral["cents"] < 50
    for one in kinds.values():
        assert min(one["cpu_ms"].values()) > 0


def test_what_is_no_speech_is_told_in_one_line(tmp_path: Path) -> None:
    wrong = command.run("bench", "fidelity", "--speech", "none.wav", cwd=tmp_path, code=2)
    assert "speech none.wav" in wrong.stderr


@pytest.mark.slow
def test_fidelity_is_told_for_every_backend_and_precision(tmp_path: Path) -> None:
    done = command.run("bench", "fidelity", "--clips", "1", "--json", cwd=tmp_path)
    found = json.loads(done.stdout)
    ran = {
        (one["extractor"], one["backend"], one["precision"]): one["deviations"]
        for one in found["networks"]
        if not one["refusal"]
    }
    ways = {tuple(one[key] for key in ("backend", "precision")) for one in found["networks"]}
    assert ways == set(product(BACKENDS, PRECISIONS))
    for name, arrays in ARRAYS.items():
        same = ran[name, "torch", "fp32"]
        assert [one["array"] for one in same] == list(arrays)
        assert all(one["largest"] == 0 and one["lowest"] > 1 - 1e-6 for one in same)
        assert (name, "torch", "bf16") in ran
    cosines = [one["lowest"] for several in ran.values() for one in several]
    assert found["lowest_cosine"] == min(cosines)
    assert min(cosines) >= PROMISED
