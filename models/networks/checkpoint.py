"""What a training run needs to go on as if nothing had happened.

A checkpoint is one file, so it is either whole or not there: torch's own format of tensors and
plain values, read without unpickling anything else.
"""

import io
import pickle
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self, TypeAlias

import torch
from torch import Tensor, nn

from meldflow.models.networks.common import Epoch, best


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come."""

    history: tuple[Epoch, ...] = ()
    best: dict[str, Tensor] = field(default_factory=dict)
    """Parameters of the best epoch on dev, by name."""

    def after(self, epoch: Epoch, network: nn.Module) -> Self:
        """The progress with one epoch more, which ``network`` has just come out of."""
        grown = replace(self, history=(*self.history, epoch))
        if best(grown.history) != epoch:
            return grown
        state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return replace(grown, best=state)


Parts: TypeAlias = Mapping[str, nn.Module | torch.optim.Optimizer | torch.amp.GradScaler]
"""What changes while a run goes on, besides the state of what is drawn at random."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """The one checkpoint of a run, kept wherever the caller keeps it."""

    identity: str
    """What the run is of: data and settings. Another run's checkpoint is not gone on from."""
    read: Callable[[], bytes | None]
    write: Callable[[bytes], object]

    def restore(self, parts: Parts, order: torch.Generator) -> Progress:
        """Puts the state into what a new run has made; gives how far it had come.

        ``order`` draws the order of what is learned from. Nothing changes, and no epoch is done,
        without a checkpoint of this very run.
        """
        state = _state(self.read() or b"")
        if state.get("identity") != self.identity:
            return Progress()
        for name, part in parts.items():
            part.load_state_dict(state[name])
        order.set_state(state["order"])
        torch.set_rng_state(state["cpu"])
        if "cuda" in state and torch.cuda.is_available():
            torch.cuda.set_rng_state(state["cuda"])
        return Progress(history=tuple(Epoch(**one) for one in state["history"]), best=state["best"])

    def save(self, progress: Progress, parts: Parts, order: torch.Generator) -> None:
        """Replaces the checkpoint by the state between two epochs."""
        state = {
            "identity": self.identity,
            "history": [asdict(epoch) for epoch in progress.history],
            "best": progress.best,
            "order": order.get_state(),
            "cpu": torch.get_rng_state(),
            **{name: part.state_dict() for name, part in parts.items()},
        }
        if torch.cuda.is_available():
            state["cuda"] = torch.cuda.get_rng_state()
        file = io.BytesIO()
        torch.save(state, file)
        self.write(file.getvalue())


def _state(file: bytes) -> dict[str, Any]:
    """What was saved; nothing if it is damaged."""
    try:
        found = torch.load(io.BytesIO(file), map_location="cpu", weights_only=True)
    except (EOFError, RuntimeError, ValueError, pickle.UnpicklingError):
        return {}
    return found if isinstance(found, dict) else {}
