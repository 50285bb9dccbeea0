"""Context fusion from what was saved of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.fusion.inputs import assemble
from meldflow.models.networks.fusion.network import FusionNetwork, batch_of
from meldflow.models.networks.saved import Network
from meldflow.models.networks.scaling import scalers_of


def load_network(
    described: Mapping[str, Any],
    state: Mapping[str, NDArray[Any]],
    arrays: Mapping[str, NDArray[Any]],
) -> Network:
    """The network with its inputs before it.

    Raises:
        KeyError: something is not there.
        RuntimeError: the parameters are of another network.
    """
    given: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one
        for name, one in described["config"].items()
    }
    config = FusionConfig(**given)
    shapes = {name: (steps, width) for name, (steps, width) in described["shapes"].items()}
    speakers = tuple(described["speakers"])
    network = FusionNetwork(shapes, len(speakers), config, len(described["classes"])).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    scalers = scalers_of(arrays)

    def said(table: FeatureTable) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        inputs = assemble(table, scalers, speakers, config.longest).shaped_like(shapes)
        logits = np.zeros((len(table), network.head.out_features), dtype=np.float32)
        fused = np.zeros((len(table), network.head.in_features), dtype=np.float32)
        with torch.inference_mode():
            for dialogue in inputs.dialogues:
                output = network(batch_of(inputs, [dialogue]))
                logits[dialogue], fused[dialogue] = output.logits.numpy(), output.fused.numpy()
        return logits, fused

    return said
