"""Fits a network: AdamW, weighted loss, early stopping and calibration on dev."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from meldflow.models.judging.calibration import temperature
from meldflow.models.judging.metrics import weighted_f1
from meldflow.models.judging.protocols import Division, Ledger, Rows
from meldflow.models.networks.checkpoint import Checkpoints, Parts, Progress
from meldflow.models.networks.common import (
    Epoch,
    Fitted,
    Output,
    TrainConfig,
    best,
    class_weights,
    layers_of,
)
from meldflow.models.schema.errors import UsageError

_MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
"""Precision → what products are computed in, where that is not float32."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The rows of a table as a network takes them."""

    groups: Sequence[Rows]
    """Rows that are seen together only, in order: those of a dialogue, or each by itself."""
    batch: Callable[[Sequence[Rows], torch.device], Any]
    """Some of the groups, their rows one after another, as the network takes them."""
    at_once: int
    """Groups per pass without gradients."""

    def ask(
        self, network: nn.Module, rows: Rows, n: int, precision: str = "32-true"
    ) -> Output[NDArray[np.float32]]:
        """What ``network``, where it is, says of the groups that hold any of ``rows``.

        Without dropout. In arrays of ``n`` rows, those of the table; 0 in those of other groups.
        """
        network.eval()
        device = next(network.parameters()).device
        groups, said = _with_any(self.groups, rows, n), list[NDArray[np.float32]]()
        with torch.inference_mode(), _computing(precision, device):
            for start in range(0, len(groups), self.at_once):
                some = groups[start : start + self.at_once]
                parts = [one.float().cpu().numpy() for one in network(self.batch(some, device))]
                said = said or [np.zeros((n, *one.shape[1:]), np.float32) for one in parts]
                for whole, part in zip(said, parts, strict=True):
                    whole[np.concatenate(some)] = part
        return Output(*said)


@dataclass(frozen=True, slots=True, kw_only=True)
class Untrained:
    """A network before its training."""

    make: Callable[[], nn.Module]
    """The network with its initial weights, drawn at random."""
    view: View
    attended: tuple[str, ...]
    """What its attention is over."""
    described: Mapping[str, Any] = field(default_factory=dict)
    """What a saved model needs besides its settings to be built again, JSON values."""


def fit(
    untrained: Untrained,
    division: Division,
    config: TrainConfig,
    ledger: Ledger,
    on_epoch: Callable[[Epoch], object] = lambda _: None,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """The network at its best epoch on dev, applied to every row.

    The same inputs, config and number of threads give the same bits on one machine, and so
    does a run that was cut off and resumed; the caller's random state is left alone.

    Args:
        untrained: the network, and how it takes all rows; only those of ``division`` named for
            fitting and choosing are used before the last pass over everything.
        division: rows by purpose, and labels.
        config: see its fields.
        ledger: gets an entry for the fit, the choice of the epoch, and the temperature.
        on_epoch: called after each epoch, not for those that a resumed run had done before.
        checkpoints: where to go on from, and where to leave the state after each epoch.

    Raises:
        LeakError: ``division`` and ``ledger`` disagree.
        UsageError: the machine has no such device.
    """
    labels, choose_rows, device = division.labels, division.choose, _device(config.device)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = untrained.make()
        name = type(network).__name__
        ledger.enter("fit", name, division.fit)
        if len(choose_rows):
            ledger.enter("choose", f"{name}: epoch and temperature", choose_rows)
        trainer = _Trainer(network.to(device), untrained.view, division, config)
        progress = trainer.run(on_epoch, checkpoints)
    said = trainer.ask(np.arange(len(labels), dtype=np.intp))
    return Fitted(
        state={name: value.cpu().numpy() for name, value in progress.best.items()},
        history=progress.history,
        best_epoch=best(progress.history).epoch,
        said=said,
        attended=untrained.attended,
        layers=layers_of(network),
        threads=torch.get_num_threads(),
        temperature=temperature(said.logits[choose_rows], labels[choose_rows]),
        described=untrained.described,
    )


def _device(wanted: str) -> torch.device:
    """The device to train on; a ``UsageError`` where the machine has none such."""
    if wanted == "auto":
        return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"training: no device {wanted} on this machine; cpu and auto always work")
    return torch.device(wanted)


def _computing(precision: str, device: torch.device) -> torch.autocast:
    """Inside, products are computed in ``precision``."""
    mixed = _MIXED.get(precision)
    return torch.autocast(device.type, dtype=mixed, enabled=mixed is not None)


def _with_any(groups: Sequence[Rows], rows: Rows, n: int) -> list[Rows]:
    """The groups that hold any of ``rows``, whole."""
    asked = np.zeros(n, dtype=bool)
    asked[rows] = True
    return [one for one in groups if asked[one].any()]


class _Trainer:
    """Network, data and loss of one fit; made once, run once."""

    def __init__(
        self, network: nn.Module, view: View, division: Division, config: TrainConfig
    ) -> None:
        self.network, self.view, self.config = network, view, config
        self.device = next(network.parameters()).device
        self.choose, labels, n = division.choose, division.labels, len(division.labels)
        self.labels = torch.from_numpy(labels)
        self.fit = torch.zeros(n, dtype=torch.bool)
        self.fit[torch.from_numpy(division.fit)] = True
        self.groups = _with_any(view.groups, division.fit, n)
        weights = class_weights(labels[division.fit], len(division.classes), config.class_weighting)
        self.weights = torch.from_numpy(weights)
        self.loss = nn.CrossEntropyLoss(self.weights.to(self.device))
        self.optimiser = torch.optim.AdamW(
            network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,  # a quarter of an epoch's time goes into the step otherwise
        )
        # Gradients of float16 vanish unless the loss is scaled.
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=config.precision == "16-mixed")

    def run(self, on_epoch: Callable[[Epoch], object], checkpoints: Checkpoints | None) -> Progress:
        """Train until dev stops improving; the best epoch's parameters are left in place.

        Without rows to choose on, all epochs are run and the last one is kept.
        """
        order = torch.Generator().manual_seed(self.config.seed)
        parts: Parts = {
            "network": self.network,
            "optimiser": self.optimiser,
            "scaler": self.scaler,
        }
        progress = Progress() if checkpoints is None else checkpoints.restore(parts, order)
        while not self._done(progress):
            started = time.perf_counter()
            for group in self.optimiser.param_groups:
                group["lr"] = self.config.rate(len(progress.history))
            train_loss = self._epoch(torch.randperm(len(self.groups), generator=order).tolist())
            dev_loss, dev_f1 = self._judge()
            epoch = Epoch(
                epoch=len(progress.history) + 1,
                train_loss=train_loss,
                dev_loss=dev_loss,
                dev_weighted_f1=dev_f1,
                seconds=time.perf_counter() - started,
            )
            progress = progress.after(epoch, self.network)
            on_epoch(epoch)
            if checkpoints is not None:
                checkpoints.save(progress, parts, order)
        self.network.load_state_dict(progress.best)
        return progress

    def _done(self, progress: Progress) -> bool:
        """Whether the last epoch is done, or dev has not improved for too long."""
        done = len(progress.history)
        return bool(done) and (
            done >= self.config.epochs
            or done - best(progress.history).epoch >= self.config.patience  # 0 without dev
        )

    def _epoch(self, order: Sequence[int]) -> float:
        """One pass over the groups in ``order``; gives the mean training loss."""
        self.network.train()
        total, count, size = 0.0, 0, self.config.batch_size
        for start in range(0, len(order), size):
            groups = [self.groups[i] for i in order[start : start + size]]
            rows = np.concatenate(groups)
            learned = self.fit[rows]
            truth = self.labels[rows][learned].to(self.device)
            self.optimiser.zero_grad()
            with _computing(self.config.precision, self.device):
                logits = self.network(self.view.batch(groups, self.device)).logits
            loss = self.loss(logits.float()[learned.to(self.device)], truth)
            self._step(loss)
            total, count = total + loss.item() * len(truth), count + len(truth)
        return total / count

    def _step(self, loss: torch.Tensor) -> None:
        """One step of the optimiser; one whose scaled gradients overflow is left out."""
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        nn.utils.clip_grad_norm_(
            self.network.parameters(), 1.0, error_if_nonfinite=not self.scaler.is_enabled()
        )
        self.scaler.step(self.optimiser)
        self.scaler.update()

    def _judge(self) -> tuple[float | None, float | None]:
        """Weighted loss and weighted F1 on the rows to choose on; None of none."""
        rows = self.choose
        if not len(rows):
            return None, None
        logits = torch.from_numpy(self.ask(rows).logits[rows])
        truth = self.labels[torch.from_numpy(rows)]
        f1 = weighted_f1(truth.numpy(), logits.argmax(dim=1).numpy())
        # Summed by hand: the loss module divides by the weights met, 0 if dev holds only
        # classes that train lacks.
        each = nn.functional.cross_entropy(logits, truth, self.weights, reduction="sum")
        return each.item() / len(rows), f1

    def ask(self, rows: Rows) -> Output[NDArray[np.float32]]:
        """What the network says of the groups that hold any of ``rows``."""
        return self.view.ask(self.network, rows, len(self.labels), self.config.precision)
