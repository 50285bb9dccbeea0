"""What is fast against what is exact, on a few sounds and one clip."""

from __future__ import annotations

import wave
from itertools import product
from pathlib import Path

import pytest

from meldflow.models.running.computing import BACKENDS, PRECISIONS
from tests.bench import command
from tests.bench.agreement.pitch import tone
from tests.bench.agreement.precision import ARRAYS, PROMISED


@pytest.mark.slow
def test_fidelity_is_told_for_known_pitch_and_for_speech(tmp_path: Path) -> None:
    speech = tmp_path / "speech.wav"
    with wave.open(str(speech), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes((tone(150.0, 10) * 32_767).astype("<i2").tobytes())
    found = command.measured("fidelity", "--clips", "0", "--speech", speech, cwd=tmp_path)
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
    wrong = command.run("fidelity", "--speech", "none.wav", cwd=tmp_path, code=2)
    assert "speech none.wav" in wrong.stderr


@pytest.mark.slow
def test_fidelity_is_told_for_every_backend_and_precision(tmp_path: Path) -> None:
    found = command.measured("fidelity", "--clips", "1", cwd=tmp_path)
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
