"""What a network says of rows: what the judges look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from meldflow.models.networks.common import Epoch

if TYPE_CHECKING:
    from torch import nn

T = TypeVar("T")


class Output(NamedTuple, Generic[T]):
    """What a network gives for m rows, as tensors or as arrays."""

    logits: T
    """One score per class, shape (m, k)."""
    fused: T
    """What the SVM sees, shape (m, width)."""
    attention: T
    """How much each thing attended to counts, averaged over heads; rows sum to 1, shape (m, a)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A part of a network."""

    name: str
    kind: str
    parameters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted network with what it says of every row of the table."""

    state: dict[str, NDArray[np.float32]]
    """Parameters of the best epoch, by their torch names."""
    history: tuple[Epoch, ...]
    best_epoch: int
    logits: NDArray[np.float32]
    """Shape (n, k)."""
    fused: NDArray[np.float32]
    """What the SVM sees, shape (n, width)."""
    attention: NDArray[np.float32]
    """How much each of ``attended`` counts, rows sum to 1, shape (n, len(attended))."""
    attended: tuple[str, ...]
    layers: tuple[Layer, ...]
    threads: int
    """Threads that torch computed with; another number may round differently."""
    temperature: float = 1.0
    """What the logits are divided by before they become probabilities."""
    described: Mapping[str, Any] = field(default_factory=dict)
    """What else a saved model needs to be built again, JSON values."""


def layers_of(network: nn.Module) -> tuple[Layer, ...]:
    """The parts of a network and their trainable parameters, its own parameters last."""
    found = [
        Layer(name=name, kind=type(part).__name__.strip("_"), parameters=_count(part))
        for name, part in network.named_children()
    ]
    own = sum(p.numel() for p in network.parameters(recurse=False) if p.requires_grad)
    if own:
        found.append(Layer(name="scales", kind="Parameter", parameters=own))
    return tuple(one for one in found if one.parameters)


def _count(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters() if p.requires_grad)
