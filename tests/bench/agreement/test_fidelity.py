"""What is fast against what is exact, on one clip."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from meldflow.models.running.computing import BACKENDS, PRECISIONS
from tests.bench import command
from tests.bench.agreement.precision import ARRAYS, PROMISED


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
