"""What a training run needs to go on as if nothing had happened: safetensors and JSON.

A checkpoint is one file, so it is either whole or not there: the tensors, and what is no
tensor as JSON in the file's header.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from meldflow.models.networks.common import Epoch, best


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run has come."""

    history: tuple[Epoch, ...] = ()
    best: dict[str, Tensor] = field(default_factory=dict)
    """Parameters of the best epoch on dev, by name."""

    def after(self, epoch: Epoch, network: nn.Module) -> Progress:
        """The progress with one epoch more, which ``network`` has just come out of."""
        grown = replace(self, history=(*self.history, epoch))
        if best(grown.history) != epoch:
            return grown
        state = {name: value.detach().clone() for name, value in network.state_dict().items()}
        return replace(grown, best=state)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """The state of a run between two epochs."""

    tensors: dict[str, Tensor]
    """``now.*`` and ``best.*`` parameters, ``optimiser.<parameter>.*``, ``random.*`` states."""
    history: tuple[Epoch, ...]

    @classmethod
    def of(
        cls,
        progress: Progress,
        network: nn.Module,
        optimiser: torch.optim.Optimizer,
        order: torch.Generator,
    ) -> Checkpoint:
        """The state of a run as it is now."""
        tensors = {f"now.{name}": value for name, value in network.state_dict().items()}
        tensors |= {f"best.{name}": value for name, value in progress.best.items()}
        for number, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": value for name, value in state.items()}
        tensors |= {"random.cpu": torch.get_rng_state(), "random.order": order.get_state()}
        if torch.cuda.is_available():
            tensors["random.cuda"] = torch.cuda.get_rng_state()
        return cls(tensors=tensors, history=progress.history)

    def restore(
        self, network: nn.Module, optimiser: torch.optim.Optimizer, order: torch.Generator
    ) -> Progress:
        """Puts the state back into what a new run has made; gives how far it had come."""
        network.load_state_dict(self._under("now"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, value in self._under("optimiser").items():
            number, _, what = name.partition(".")
            state.setdefault(int(number), {})[what] = value
        optimiser.load_state_dict(optimiser.state_dict() | {"state": state})
        random = self._under("random")
        torch.set_rng_state(random["cpu"])
        order.set_state(random["order"])
        if "cuda" in random and torch.cuda.is_available():
            torch.cuda.set_rng_state(random["cuda"])
        return Progress(history=self.history, best=self._under("best"))

    def _under(self, prefix: str) -> dict[str, Tensor]:
        start = f"{prefix}."
        return {
            name.removeprefix(start): value
            for name, value in self.tensors.items()
            if name.startswith(start)
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """The one checkpoint of a run, kept wherever the caller keeps it."""

    identity: str
    """What the run is of: data and settings. Another run's checkpoint is not gone on from."""
    read: Callable[[], bytes | None]
    write: Callable[[bytes], object]

    def load(self) -> Checkpoint | None:
        """The checkpoint of this very run; None if there is none, or only another's."""
        held = self.read()
        header = _header(held) if held is not None else {}
        if held is None or header.get("identity") != self.identity:
            return None
        history = tuple(Epoch(**epoch) for epoch in json.loads(header["history"]))
        return Checkpoint(tensors=load(held), history=history)

    def save(self, checkpoint: Checkpoint) -> None:
        """Replaces the checkpoint."""
        history = json.dumps([asdict(epoch) for epoch in checkpoint.history])
        tensors = {name: one.cpu().contiguous() for name, one in checkpoint.tensors.items()}
        self.write(save(tensors, {"identity": self.identity, "history": history}))


def _header(file: bytes) -> dict[str, Any]:
    """The strings in a safetensors file's header; none if it is damaged."""
    try:
        length = int.from_bytes(file[:8], "little")
        load(file)
        return dict(json.loads(file[8 : 8 + length]).get("__metadata__") or {})
    except (SafetensorError, ValueError):
        return {}
