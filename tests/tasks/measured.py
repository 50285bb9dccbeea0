"""What the benches of real extraction would find, made up."""

from __future__ import annotations

from tasks.bench.limit import Floor, Limit, Rate
from tasks.bench.stages import PARTS, Measured, Spent, Stages


def job() -> Measured:
    """A job that costs 10 ms of everything per clip, and 1 s of everything at all."""

    def spent(utterances: int) -> Spent:
        cpu = dict.fromkeys(PARTS, 1 + 0.010 * utterances)
        return Spent(utterances=utterances, seconds=1.0, cpu_seconds=cpu)

    run = Stages(precision="fp32", few=spent(64), many=spent(256))
    return Measured(clips=48, clip_seconds=3.1, partition=64, runs=(run,))


def limit() -> Limit:
    """Its floor: decoding in 5 ms, each network in 5 ms."""

    def rate(precision: str, speed: float) -> Rate:
        kernel = f"matmul at {speed}"
        return Rate(library="torch", kernel=kernel, precision=precision, gflop_per_second=speed)

    floor = Floor(
        decode_ms=5.0,
        clip_seconds=3.1,
        gflop={"audio/wav2vec2": 0.5, "video/resnet50": 0.5, "text/minilm": 0.5},
        resnet50_gmac_per_picture=4.089,
        rates=(rate("fp32", 50.0), rate("fp32", 100.0), rate("bf16", 900.0)),
    )
    return Limit(job=job(), floor=floor)
