"""The usual script against meldflow, on a few clips."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from meldflow.models.running.computing import cpu_precisions
from meldflow.models.schema.errors import UsageError
from tests.bench import command
from tests.bench.extraction import extract
from tests.bench.extraction.comparison import Comparison, Round, Side
from tests.bench.extraction.extract import compare


def rounds(*seconds: float) -> tuple[Round, ...]:
    return tuple(
        Round(
            clips=12,
            seconds=one,
            cpu_seconds=2 * one,
            peak_mb=100,
            worker_mb=50,
            loading_mb=70,
            before_seconds=1,
            steps={},
        )
        for one in seconds
    )


def test_a_round_is_compared_with_the_script_before_and_after_it() -> None:
    theirs, ours = Side(rounds=rounds(12, 24, 6, 6)), rounds(3, 3, 3)
    found = Comparison(
        clips=12,
        clip_seconds=3.1,
        usual=theirs,
        meldflow={"fp32": Side(rounds=ours)},
    ).to_json()
    # Clips per second of the script: 1, 0.5, 2, 2; so 0.75, 1.25 and 2 around the rounds.
    ratio = {"median": 3.2, "min": 2, "max": 5.3333}
    assert found["ratio"] == {"fp32": ratio, "bf16": None}
    assert found["usual"]["clips_per_second"] == {"median": 1.5, "min": 0.5, "max": 2}
    assert found["meldflow"]["fp32"]["cpu_seconds_per_clip"] == 0.5
    assert found["meldflow"]["bf16"] is None
    assert found["usual"]["cold_seconds"] == 1


def test_what_writes_excel_files_is_asked_for_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(extract, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"make setup"):
        compare(tmp_path / "new", lambda _: None)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_not_there_are_told_before_clips_are_made(tmp_path: Path) -> None:
    told = command.run("extract", tmp_path / "new", "--weights", "none.pt", cwd=tmp_path, code=2)
    assert "none.pt" in told.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_both_sides_extract_the_same_clips_in_turns(tmp_path: Path) -> None:
    found = command.measured("extract", "clips", "--clips", "2", "--rounds", "1", cwd=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]
    assert len(list(tmp_path.rglob("*.mp4"))) == found["clips"] == 2
    assert set(found["meldflow"]) == {"fp32", "bf16"}
    for precision, ratio in found["ratio"].items():
        ours = found["meldflow"][precision]
        if precision not in cpu_precisions():
            assert ratio is ours is None
            continue
        (mine,), usual = ours["rounds"], found["usual"]["rounds"]
        assert len(usual) == 2
        theirs = statistics.mean(one["clips"] / one["seconds"] for one in usual)
        expected = mine["clips"] / mine["seconds"] / theirs
        assert ratio["median"] == pytest.approx(expected, rel=0.01)
        for side in (ours, found["usual"]):
            figures = (side["cpu_seconds_per_clip"], side["peak_mb"], side["cold_seconds"])
            assert min(figures) > 0
    assert found["measured"]["command"].startswith("python -m tests.bench extract clips")
    steps = found["usual"]["steps"]
    assert set(steps) >= {"ffmpeg to wav", "wav2vec2", "tempo", "ten seeks", "resnet50", "Excel"}
    last = found["usual"]["rounds"][-1]
    per_clip = last["seconds"] / last["clips"]
    assert sum(steps.values()) == pytest.approx(per_clip, rel=0.1)
