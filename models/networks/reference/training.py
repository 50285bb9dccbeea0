"""The reference network before its training, and built again from what was saved of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.reference.config import ReferenceConfig
from meldflow.models.networks.reference.inputs import Inputs, arrange, raw_inputs
from meldflow.models.networks.reference.inputs import prepare as prepare
from meldflow.models.networks.reference.network import ATTENDED, ReferenceNetwork, Vectors
from meldflow.models.networks.scaling import scalers_of
from meldflow.models.networks.training import Untrained, View


def untrained(inputs: Inputs, config: ReferenceConfig, classes: int) -> Untrained:
    """The reference network before its training, for ``models.networks.training.fit``."""
    return Untrained(
        make=lambda: ReferenceNetwork(config.dropout, classes),
        view=_view(inputs.values),
        attended=ATTENDED,
    )


def build(
    described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[torch.nn.Module, Callable[[FeatureTable], View]]:
    """The network with its initial weights, and what makes a table ready for it.

    Args:
        described: what a saved model's JSON says.
        arrays: its scalers.

    Raises:
        KeyError: something is not there.
    """
    scalers, seed = scalers_of(arrays), described["config"]["projection_seed"]

    def view(table: FeatureTable) -> View:
        return _view(arrange(raw_inputs(table), scalers, seed))

    return ReferenceNetwork(classes=len(described["classes"])), view


def _view(arrays: Mapping[str, NDArray[np.float32]]) -> View:
    """Every row is seen by itself."""

    def batch(some: Sequence[NDArray[np.intp]], device: torch.device) -> Vectors:
        rows = np.concatenate(some)
        return Vectors(
            *(torch.from_numpy(arrays[name][rows]).to(device) for name in Vectors._fields)
        )

    n = len(arrays["text"])
    return View(groups=list(np.arange(n, dtype=np.intp)[:, None]), batch=batch, at_once=1024)
