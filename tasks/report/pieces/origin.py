"""Where the result comes from: extractors, settings, time."""

from __future__ import annotations

import json
from dataclasses import asdict

from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.text import DASH, duration
from meldflow.tasks.report.pieces.scores import seconds_of


def keys(result: TrainResult) -> dict[str, str]:
    """Extractor → its weights and its key."""
    weights = result.data.weights
    return {name: f"{weights.get(name, DASH)}, {key}" for name, key in result.data.keys.items()}


def settings(result: TrainResult) -> dict[str, str]:
    """Setting of the network → its value."""
    values = asdict(result.config).items()
    return {name.replace("_", " "): json.dumps(value) for name, value in values}


def times(result: TrainResult) -> dict[str, str]:
    """How long each stage took, reading from the store included; seeds added up."""
    stages: dict[str, float] = {}
    for seed in result.seeds:
        for stage, seconds in seed.durations.items():
            # The inputs are prepared once; every seed tells it.
            before = 0.0 if stage == "inputs" else stages.get(stage, 0.0)
            stages[stage] = before + seconds
    own = result.read_seconds + stages.get("inputs", 0.0) + sum(map(seconds_of, result.seeds))
    times = {
        "reading from the store": result.read_seconds,
        **stages,
        "ablations and the rest" if result.ablations else "the rest": max(result.seconds - own, 0),
        "everything": result.seconds,
    }
    return {name: duration(seconds) for name, seconds in times.items()}
