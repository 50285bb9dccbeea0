"""Choosing among fewer frames, on real clips."""

from __future__ import annotations

from pathlib import Path

from tests import real
from tests.bench import command
from tests.bench.agreement.candidates import DEMO


def test_fewer_frames_cost_less_and_are_others(tmp_path: Path) -> None:
    found = command.measured("candidates", str(DEMO), str(real.SENTENCE), cwd=tmp_path)
    (one,) = found["clips"]
    assert one["candidates"] < one["frames"]
    assert 0 <= one["same"] < 1
    assert found["untouched"] == 0
