"""What windows change, on real speech."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import command


@pytest.mark.slow
def test_a_seam_costs_little(tmp_path: Path) -> None:
    found = command.measured("seam", "--seconds", "30", cwd=tmp_path)
    (one,) = found["seams"]
    assert one["windows"] == 3
    assert one["pooled"] > 0.999
    assert one["lowest"] > 0.99
    assert one["lowest_within"]["0.1 s"] > one["lowest"] - 1e-3
