"""The reference network from what was saved of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.reference.inputs import arrange, raw_inputs
from meldflow.models.networks.reference.network import Batch, ReferenceNetwork
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
    network = ReferenceNetwork(classes=len(described["classes"])).eval()
    network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    scalers, seed = scalers_of(arrays), described["config"]["projection_seed"]

    def said(table: FeatureTable) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        inputs = arrange(raw_inputs(table), scalers, seed)
        with torch.inference_mode():
            output = network(Batch(*(torch.from_numpy(inputs[name]) for name in Batch._fields)))
        return output.logits.numpy(), output.fused.numpy()

    return said
