"""Keeps a trained model: weights as safetensors, everything else as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from meldflow.models.files import write_atomically
from meldflow.models.training.run import Trained


def save_model(trained: Trained, directory: Path) -> Path:
    """``model/`` below ``directory``.

    Returns:
        The folder written. Every file appears whole or not at all; ``config.json`` last.
    """
    from safetensors.numpy import save

    folder, result = directory / "model", trained.result
    for stem, arrays in trained.arrays.items():
        solid = {name: np.ascontiguousarray(values) for name, values in arrays.items()}
        write_atomically(folder / f"{stem}.safetensors", save(solid))
    described = {
        "architecture": result.network,
        "protocol": result.protocol,
        "target": result.target,
        "classes": list(result.classes),
        "winner": result.winner,
        **trained.described,
        "config": asdict(result.config) | {"seed": result.shown.seed},
        "parameters": result.parameters,
        "best_epoch": result.shown.best_epoch,
        "snapshot": result.data.snapshot,
        "store": result.data.store,
        "keys": dict(result.data.keys),
        "weights": dict(result.data.weights),
        "versions": dict(result.versions),
    }
    write_atomically(folder / "config.json", json.dumps(described, indent=2).encode())
    return folder
