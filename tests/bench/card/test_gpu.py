"""The bench of a GPU from start to end, with a CPU in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench import command
from tests.bench.card.watch import Usage


@pytest.mark.slow
def test_everything_runs_without_a_card(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    given = ("--clips", "2", "--utterances", "4", "--precision", "fp32")
    found = command.measured("gpu", clips, *given, cwd=tmp_path)
    assert [one["decoder"] for one in found["decoding"]] == ["cpu"]
    assert {one["extractor"] for one in found["networks"]} == {
        *("audio/wav2vec2", "video/resnet50", "text/minilm")
    }
    (way,) = found["ways"]
    assert (way["clips"], way["decoder"], way["agreement"]["same_frames"]) == (4, "cpu", 1.0)
    assert min(one["lowest"] for one in way["agreement"]["rows"].values()) > 0.999
    assert [one["clips"] for one in found["at_once"]] == [2, 2]


def test_a_card_that_was_not_seen_has_no_share() -> None:
    assert Usage().to_json() == {"kernels": None, "decoders": None, "memory_mb": None}
    seen = Usage(kernels=[0.5, 1.0], decoders=[0.25, 0.5], memory_mb=[900.0, 700.0])
    assert seen.to_json() == {"kernels": 0.75, "decoders": 0.375, "memory_mb": 900.0}
