"""The benches of real extraction, on two tiny clips."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.models.schema.errors import UsageError
from tests.bench import command
from tests.bench.extraction.kernels import Rate
from tests.bench.extraction.limit import Floor, Limit
from tests.bench.extraction.stages import (
    DECODE,
    ENCODE,
    PARTS,
    REST,
    Measured,
    Spent,
    Stages,
    stages,
)


@pytest.mark.slow
def test_stages_and_floor_are_measured_in_one_run(clips: Path, tmp_path: Path) -> None:
    given = ("--clips", "2", "--partition", "2", "--precision", "fp32")
    found = command.measured("limit", clips, *given, cwd=tmp_path)
    job = found["stages"]["precisions"]["fp32"]
    assert (job["few"]["utterances"], job["many"]["utterances"]) == (2, 6)
    assert set(job["cpu_ms_per_clip"]) == set(PARTS) == {DECODE, *ENCODE, *REST}
    spent = job["many"]["cpu_seconds"]
    assert min(spent[part] for part in PARTS) > 0
    assert job["total_ms"] == pytest.approx(sum(job["cpu_ms_per_clip"].values()), abs=0.1)
    one = found["precisions"]["fp32"]
    assert one["multiple"] == pytest.approx(one["ours_ms"] / one["floor_ms"], abs=0.01)
    assert one["parts"]["video/resnet50"]["floor_ms"] > 0
    assert one["parts"]["audio/librosa"]["multiple"] is None
    fastest = max(rate["gflop_per_second"] for rate in found["rates"])
    assert one["best"]["gflop_per_second"] == fastest
    assert found["measured"]["hardware"]["cores"] >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_a_precision_that_is_not_there_is_refused_at_once() -> None:
    with pytest.raises(UsageError, match="precision 'fp4': this processor computes in fp32"):
        stages(None, print, asked=("fp4",))


def test_the_share_and_the_multiple_are_computed_from_the_runs() -> None:
    def spent(utterances: int) -> Spent:
        """A job that costs 10 ms of everything per clip, and 1 s of everything at all."""
        cpu = dict.fromkeys(PARTS, 1 + 0.010 * utterances)
        return Spent(utterances=utterances, seconds=1.0, cpu_seconds=cpu)

    def rate(precision: str, speed: float) -> Rate:
        return Rate(library="torch", kernel="", precision=precision, gflop_per_second=speed)

    run = Stages(precision="fp32", few=spent(64), many=spent(256))
    floor = Floor(  # decoding in 5 ms, each network in 5 ms
        decode_ms=5.0,
        clip_seconds=3.1,
        gflop=dict.fromkeys(("audio/wav2vec2", "video/resnet50", "text/minilm"), 0.5),
        resnet50_gmac_per_picture=4.089,
        rates=(rate("fp32", 50.0), rate("fp32", 100.0), rate("bf16", 900.0)),
    )
    job = Measured(clips=48, clip_seconds=3.1, partition=64, runs=(run,))
    told, parts = run.to_json(), len(PARTS)
    assert told["total_ms"] == pytest.approx(10 * parts)
    assert told["rest_share"] == pytest.approx(6 / parts, abs=1e-4)
    assert told["fixed_cpu_seconds"]["flow"] == pytest.approx(1.0)
    assert told["at_meld"]["cpu_ms_per_clip"]["flow"] == pytest.approx(10 + 1000 / 13_708, abs=1e-3)
    (one,) = Limit(job=job, floor=floor).against
    assert one.best.gflop_per_second == 100.0
    assert sum(one.floor.values()) == pytest.approx(20.0)
    assert one.multiples["video/resnet50"] == pytest.approx(2.0, rel=0.02)
    assert one.multiples["flow"] is None
    assert one.multiple == pytest.approx(parts / 2, rel=0.02)
