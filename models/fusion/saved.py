"""Reads a saved fusion model back: safetensors and JSON only, nothing is unpickled."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.preprocessing import StandardScaler

from models.fusion.config import FusionConfig
from models.fusion.inputs import assemble
from models.fusion.network import FusionNetwork, batch_of
from models.reference.saved import scaler_of
from models.schema import UsageError
from models.table import FeatureTable


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedFusion:
    """A fusion network as ``tasks.train.save_model`` wrote it."""

    network: FusionNetwork
    scalers: dict[str, StandardScaler]
    speakers: tuple[str, ...]
    config: FusionConfig
    temperature: float

    def probabilities(self, table: FeatureTable) -> NDArray[np.float32]:
        """Calibrated probability of every emotion for every row, shape (n, 7).

        The table has to hold whole dialogues: what is said around an utterance counts.
        """
        inputs = assemble(table, self.scalers, self.speakers, self.config.longest)
        found = np.zeros((len(table), self.network.head.out_features), dtype=np.float32)
        with torch.inference_mode():
            for dialogue in inputs.dialogues:
                logits = self.network.eval()(batch_of(inputs, [dialogue])).logits
                found[dialogue] = (logits / self.temperature).softmax(dim=1).numpy()
        return found


def load_fusion(folder: Path) -> SavedFusion:
    """The model in ``folder`` (the ``model/`` of a training run).

    Raises:
        UsageError: the folder holds no such model.
    """
    if not (folder / "config.json").is_file():
        raise UsageError(f"no model in {folder}: config.json is not there")
    described = json.loads((folder / "config.json").read_text())
    if described["architecture"] != "fusion":
        raise UsageError(f"the model in {folder} is {described['architecture']}, not fusion")
    given = described["config"]
    values: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one for name, one in given.items()
    }
    config = FusionConfig(**values)
    shapes = {name: (steps, width) for name, (steps, width) in described["shapes"].items()}
    network = FusionNetwork(shapes, len(described["speakers"]), config)
    state = load_file(folder / "network.safetensors")
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    arrays = load_file(folder / "scalers.safetensors")
    return SavedFusion(
        network=network,
        scalers={
            name: scaler_of(arrays[f"{name}.mean"], arrays[f"{name}.scale"])
            for name in sorted({key.rpartition(".")[0] for key in arrays})
        },
        speakers=tuple(described["speakers"]),
        config=config,
        temperature=described["temperature"],
    )
