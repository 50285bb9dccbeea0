"""Context fusion before its training, and built again from what was saved of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.fusion.inputs import Inputs, assemble
from meldflow.models.networks.fusion.inputs import prepare as prepare
from meldflow.models.networks.fusion.network import NOTHING, FusionNetwork, dialogues_of
from meldflow.models.networks.scaling import scalers_of
from meldflow.models.networks.training import Untrained, View


def untrained(inputs: Inputs, config: FusionConfig, classes: int) -> Untrained:
    """Context fusion before its training, for ``models.networks.training.fit``."""
    shapes, speakers = inputs.shapes(), len(inputs.speakers)
    return Untrained(
        make=lambda: FusionNetwork(shapes, speakers, config, classes),
        view=_view(inputs, at_once=64),
        attended=(*inputs.streams, NOTHING),
        described={"shapes": shapes, "speakers": inputs.speakers},
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
    given: dict[str, Any] = {
        name: tuple(one) if isinstance(one, list) else one
        for name, one in described["config"].items()
    }
    config, scalers = FusionConfig(**given), scalers_of(arrays)
    shapes = {name: (steps, width) for name, (steps, width) in described["shapes"].items()}
    speakers = tuple(described["speakers"])

    def view(table: FeatureTable) -> View:
        inputs = assemble(table, scalers, speakers, config.longest).shaped_like(shapes)
        return _view(inputs, at_once=1)

    return FusionNetwork(shapes, len(speakers), config, len(described["classes"])), view


def _view(inputs: Inputs, at_once: int) -> View:
    """A dialogue is seen as a whole."""
    return View(
        groups=inputs.dialogues,
        batch=lambda some, device: dialogues_of(inputs, some, device),
        at_once=at_once,
    )
