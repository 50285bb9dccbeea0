"""What the benches would find, made up."""

from __future__ import annotations

from typing import Any

from tests.bench.limit import Floor, Limit, Rate
from tests.bench.stages import PARTS, Measured, Spent, Stages

SPREAD = {"median": 4.5, "min": 4.25, "max": 4.75}
COST = {
    "clips_per_second": SPREAD,
    "cpu_seconds_per_clip": 0.5,
    "peak_mb": 1234.5,
    "worker_mb": 555.5,
    "loading_mb": 666.5,
    "cold_seconds": 12.0,
}
AGREEMENT = {
    **{"frames": 10, "voicing": 0.9, "missed": 0.1, "invented": None, "both_voiced": 8},
    **{"close": 0.95, "cents": 12.5, "gross": 0.01, "gross_period": 0.0},
}


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


MEASURED: dict[str, Any] = {
    "command": "meldflow bench limit --json",
    "date": "2026-11-26",
    "hardware": {"cpu": "A", "cores": 2, "memory_gib": 8.0, "system": "Linux", "workers": 2},
    "versions": {"python": "3.11.7", "torch": "2.14"},
}


def samples() -> dict[str, Any]:
    """What each bench prints as JSON, by its name."""
    cores = {"flow": 0.1, "workers": 1.5}
    return {
        "extract": {
            "ratio": {"fp32": SPREAD, "bf16": None},
            "usual": COST | {"steps": {"ffmpeg": 0.1}},
            "meldflow": {"fp32": COST | {"precision": "fp32", "backend": "openvino"}},
            "clips": 48,
            "clip_seconds": 3.1,
            "workers": 2,
        },
        "limit": limit().to_json() | {"measured": MEASURED},
        "scale": {
            "factor": 1.95,
            "linear_until": 16,
            "clip_seconds": 1.2,
            "real": [
                {"workers": n, "clips": 48, "clips_per_second": 0.9 * n}
                | {"seconds": [50.0 / n, 51.0 / n], "stage_seconds": {"load": 0.3, "write": 0.1}}
                for n in (1, 2)
            ],
            "simulated": [
                {"workers": 16, "clips": 768, "clips_per_second": 13.0, "efficiency": 0.97}
                | {"busy_efficiency": 0.95, "cores": cores}
            ],
        },
        "fidelity": {
            "pitch": [
                {"name": "tones", "seconds": 9.0, "against_truth": {"yin": AGREEMENT}}
                | {"between": AGREEMENT, "cpu_ms": {"yin": 1.0, "pyin": 50.0}}
            ],
            "networks": [
                {"extractor": "video/resnet50", "backend": "openvino", "precision": "bf16"}
                | {"refusal": "no instructions", "deviations": []},
                {"extractor": "video/resnet50", "backend": "openvino", "precision": "fp32"}
                | {
                    "refusal": "",
                    "deviations": [
                        {"array": "features", "rows": 10, "lowest": 0.9999, "percentile": 0.99995}
                        | {"median": 1.0, "chance": 0.4, "largest": 0.001}
                    ],
                },
            ],
            "weights": "random",
        },
        "orchestrate": {
            "sizes": [
                {"utterances": 13708, "cpu_ms_by_process": {"flow": 1.5, "server": 1.0}}
                | {"peak_mb": {"flow": 300.0, "server": 400.0}, "cpu_ms_per_utterance": 2.5}
                | {"seconds": 60.0, "settle_seconds": 2.0, "partitions": 215}
            ],
            "task_runs_lost": 3,
            "fixed": {"cpu_seconds": {"flow": 7.0, "server": 1.0}},
        },
        "store": {
            "growth": [
                {"operation": "open", "utterances": n, "seconds": 0.5, "peak_mb": 200.0}
                for n in (1000, 2000)
            ],
            "reading": {
                "utterances": 64,
                "rounds": {
                    name: [{"cpu_seconds": 2.0, "wall_seconds": 2.0, "megabytes": 100.0}]
                    for name in ("partitions", "random")
                },
                "cpu_ratio": {"random": 10.0},
            },
        },
        "train": {
            "utterances": 13708,
            "costs": [
                {"network": "fusion", "seconds": 90.0, "cpu_seconds": 150.0, "peak_mb": 800.0}
                | {"read_seconds": 0.5, "stages": {"network": 70.0}, "epochs": 12}
            ],
        },
    }
