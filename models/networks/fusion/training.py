"""Fits context fusion: AdamW, weighted loss, early stopping and calibration on dev."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from meldflow.models.judging.calibration import temperature
from meldflow.models.judging.metrics import weighted_f1
from meldflow.models.judging.protocols import Division, Ledger
from meldflow.models.networks.common import Epoch, best, class_weights
from meldflow.models.networks.fitted import Fitted, layers_of
from meldflow.models.networks.fusion.checkpoint import Checkpoint, Checkpoints, Progress
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.fusion.inputs import Inputs
from meldflow.models.networks.fusion.network import Batch, FusionNetwork, batch_of
from meldflow.models.schema.errors import UsageError

_EVAL_BATCH = 64
"""Dialogues per pass without gradients."""


def fit_network(
    inputs: Inputs,
    division: Division,
    config: FusionConfig,
    ledger: Ledger,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoints: Checkpoints | None = None,
) -> Fitted:
    """Context fusion at its best epoch on dev, applied to every row.

    The same inputs, config and number of threads give the same bits on one machine, and so
    does a run that was cut off and resumed; the caller's random state is left alone.

    Args:
        inputs: all rows; only those of ``division`` named for fitting and choosing are used
            before the last pass over everything.
        division: rows by purpose, and labels.
        config: see its fields.
        ledger: gets an entry for the fit, the choice of the epoch, and the temperature.
        on_epoch: called after each epoch, not for those that a resumed run had done before.
        checkpoints: where to go on from, and where to leave the state after each epoch.

    Raises:
        LeakError: ``division`` and ``ledger`` disagree.
        UsageError: the machine has no such device.
    """
    ledger.fit("FusionNetwork", division.fit)
    choose_rows = division.choose
    if len(choose_rows):
        ledger.choose("FusionNetwork: epoch and temperature", choose_rows)
    fabric = _fabric(config)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = FusionNetwork(
            inputs.shapes(), len(inputs.speakers), config, len(division.classes)
        )
        trainer = _Trainer(fabric, network, inputs, division, config)
        progress = trainer.run(choose_rows, on_epoch, checkpoints)
    said = trainer.predict(np.arange(len(division.labels), dtype=np.intp))
    return Fitted(
        state={name: value.cpu().numpy() for name, value in progress.best.items()},
        history=progress.history,
        best_epoch=best(progress.history).epoch,
        logits=said.logits,
        fused=said.fused,
        attention=said.attention,
        attended=(*inputs.streams, NOTHING),
        layers=layers_of(network),
        threads=torch.get_num_threads(),
        temperature=temperature(said.logits[choose_rows], division.labels[choose_rows]),
        described={"shapes": inputs.shapes(), "speakers": inputs.speakers},
    )


def _fabric(config: FusionConfig) -> Fabric:
    """The device and the precision to train with.

    Raises:
        UsageError: the machine has no such device.
    """
    try:
        return Fabric(accelerator=config.device, devices=1, precision=config.precision)
    except RuntimeError as error:
        raise UsageError(
            f"training: no device {config.device} on this machine; cpu and auto always work"
        ) from error


NOTHING = "none there"
"""What an utterance without any modality is given to look at."""


class _Said(NamedTuple):
    """What the network said, by row of the table; 0 where it was not asked."""

    logits: NDArray[np.float32]
    fused: NDArray[np.float32]
    attention: NDArray[np.float32]


class _Trainer:
    """Network, data and loss of one fit; made once, run once."""

    def __init__(
        self,
        fabric: Fabric,
        network: FusionNetwork,
        inputs: Inputs,
        division: Division,
        config: FusionConfig,
    ) -> None:
        self.fabric, self.config, self.inputs = fabric, config, inputs
        labels, fit_rows, self.classes = division.labels, division.fit, len(division.classes)
        self.labels = torch.from_numpy(labels)
        self.fit = torch.zeros(len(labels), dtype=torch.bool)
        self.fit[torch.from_numpy(fit_rows)] = True
        self.dialogues = self._with_any(fit_rows)
        weights = class_weights(labels[fit_rows], self.classes, config.class_weighting)
        self.loss = nn.CrossEntropyLoss(torch.from_numpy(weights).to(fabric.device))
        optimiser = torch.optim.AdamW(
            network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=config.precision != "16-mixed",  # Fabric cannot clip what it scales there
        )
        self.raw, (self.network, self.optimiser) = network, fabric.setup(network, optimiser)

    def run(
        self,
        choose_rows: NDArray[np.intp],
        on_epoch: Callable[[Epoch], None] | None,
        checkpoints: Checkpoints | None,
    ) -> Progress:
        """Train until dev stops improving; the best epoch's parameters are left in place.

        Without rows to choose on, all epochs are run and the last one is kept.
        """
        config = self.config
        order = torch.Generator().manual_seed(config.seed)
        progress = Progress()
        if checkpoints is not None and (found := checkpoints.load()) is not None:
            progress = found.restore(self.raw, self.optimiser, order)
        while not self._done(progress):
            started = time.perf_counter()
            self._set_rate(len(progress.history))
            train_loss = self._epoch(torch.randperm(len(self.dialogues), generator=order).tolist())
            dev_loss, dev_f1 = self._judge(choose_rows)
            epoch = Epoch(
                epoch=len(progress.history) + 1,
                train_loss=train_loss,
                dev_loss=dev_loss,
                dev_weighted_f1=dev_f1,
                seconds=time.perf_counter() - started,
            )
            progress = progress.after(epoch, self.raw)
            if on_epoch is not None:
                on_epoch(epoch)
            if checkpoints is not None:
                checkpoints.save(Checkpoint.of(progress, self.raw, self.optimiser, order))
        self.raw.load_state_dict(progress.best)
        return progress

    def _set_rate(self, done: int) -> None:
        """The learning rate of an epoch: half of it in the first, then along a cosine to 0.

        The cosine ends after ``decay`` epochs whatever ``epochs`` is, so a run that is cut
        short goes the same way as a long one as far as it goes (Loshchilov & Hutter 2017).
        """
        config = self.config
        along = min(done / config.decay, 1.0)
        factor = 0.5 if done == 0 else max(0.5 * (1 + math.cos(math.pi * along)), 0.02)
        for group in self.optimiser.param_groups:
            group["lr"] = config.learning_rate * factor

    def _done(self, progress: Progress) -> bool:
        """Whether the last epoch is done, or dev has not improved for too long."""
        done = len(progress.history)
        return bool(done) and (
            done >= self.config.epochs
            or done - best(progress.history).epoch >= self.config.patience  # 0 without dev
        )

    def _epoch(self, order: Sequence[int]) -> float:
        """One pass over the dialogues in ``order``; gives the mean training loss."""
        self.network.train()
        total, count, size = 0.0, 0, self.config.batch_size
        for start in range(0, len(order), size):
            batch, rows = self._batch([self.dialogues[i] for i in order[start : start + size]])
            learned = self.fit[rows]
            truth = self.labels[rows][learned].to(self.fabric.device)
            self.optimiser.zero_grad()
            loss = self.loss(self.network(batch).logits[learned.to(self.fabric.device)], truth)
            self.fabric.backward(loss)
            self.fabric.clip_gradients(self.network, self.optimiser, max_norm=1.0)
            self.optimiser.step()
            total, count = total + loss.item() * len(truth), count + len(truth)
        return total / count

    def _judge(self, rows: NDArray[np.intp]) -> tuple[float | None, float | None]:
        """Weighted loss and weighted F1 on ``rows``; None of none."""
        if not len(rows):
            return None, None
        logits = torch.from_numpy(self.predict(rows).logits[rows])
        truth = self.labels[torch.from_numpy(rows)]
        f1 = weighted_f1(truth.numpy(), logits.argmax(dim=1).numpy())
        weight = None if self.loss.weight is None else self.loss.weight.cpu()
        each = nn.functional.cross_entropy(logits, truth, weight, reduction="sum")
        return each.item() / len(rows), f1

    def predict(self, rows: NDArray[np.intp]) -> _Said:
        """What the network says of the dialogues that hold any of ``rows``."""
        self.network.eval()
        n, seen = len(self.labels), len(self.inputs.streams) + 1
        widths = (self.classes, self.raw.head.in_features, seen)
        said = _Said(*(np.zeros((n, width), dtype=np.float32) for width in widths))
        dialogues = self._with_any(rows)
        with torch.inference_mode():
            for start in range(0, len(dialogues), _EVAL_BATCH):
                batch, some = self._batch(dialogues[start : start + _EVAL_BATCH])
                for whole, part in zip(said, self.network(batch), strict=True):
                    whole[some] = part.float().cpu().numpy()
        return said

    def _with_any(self, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """The dialogues that hold any of ``rows``, whole."""
        asked = np.zeros(len(self.labels), dtype=bool)
        asked[rows] = True
        return [one for one in self.inputs.dialogues if asked[one].any()]

    def _batch(self, dialogues: Sequence[NDArray[np.intp]]) -> tuple[Batch, NDArray[np.intp]]:
        """The dialogues as the network sees them, and their rows one after another."""
        return batch_of(self.inputs, dialogues, self.fabric.device), np.concatenate(dialogues)
