"""Context fusion fitted to a table, and built again from what was saved of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray

from meldflow.models.judging.protocols import Division, Ledger
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.checkpoint import Checkpoints
from meldflow.models.networks.common import Epoch
from meldflow.models.networks.fitted import Fitted
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.fusion.inputs import Inputs, assemble
from meldflow.models.networks.fusion.network import NOTHING, FusionNetwork, dialogues_of
from meldflow.models.networks.scaling import scalers_of
from meldflow.models.networks.training import Untrained, View, fit


def fit_network(
    inputs: Inputs,
    division: Division,
    config: FusionConfig,
    ledger: Ledger,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Context fusion at its best epoch on dev; see ``models.networks.training.fit``."""
    shapes, speakers = inputs.shapes(), len(inputs.speakers)
    untrained = Untrained(
        make=lambda: FusionNetwork(shapes, speakers, config, len(division.classes)),
        view=_view(inputs, at_once=64),
        attended=(*inputs.streams, NOTHING),
        described={"shapes": shapes, "speakers": inputs.speakers},
    )
    return fit(untrained, division, config, ledger, on_epoch, checkpoints)


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
