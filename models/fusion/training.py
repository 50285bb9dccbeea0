"""Fits context fusion: AdamW, weighted loss, early stopping and calibration on dev."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from sklearn.metrics import f1_score
from torch import nn

from models.fusion.checkpoint import Checkpoint, Checkpoints, Progress
from models.fusion.config import FusionConfig
from models.fusion.inputs import Inputs
from models.fusion.network import Batch, FusionNetwork, batch_of, count_parameters
from models.judging.fitted import Fitted
from models.judging.protocols import Division, Ledger
from models.reference.config import Epoch, class_weights
from models.reference.training import best
from models.schema import EMOTIONS

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
    """
    fit_rows = ledger.fit("FusionNetwork", division.fit)
    choose_rows = ledger.choose("FusionNetwork: epoch", division.choose)
    fabric = Fabric(accelerator=config.device, devices=1, precision=config.precision)
    with torch.random.fork_rng():
        torch.manual_seed(config.seed)
        network = FusionNetwork(inputs.shapes(), len(inputs.speakers), config)
        trainer = _Trainer(fabric, network, inputs, division.labels, fit_rows, config)
        progress = trainer.run(choose_rows, on_epoch, checkpoints)
    logits, fused = trainer.predict(np.arange(len(division.labels), dtype=np.intp))
    rows = ledger.choose("FusionNetwork: temperature", division.choose)
    return Fitted(
        state={name: value.cpu().numpy() for name, value in progress.best.items()},
        history=progress.history,
        best_epoch=best(progress.history).epoch,
        logits=logits,
        fused=fused,
        parameters=count_parameters(network),
        threads=torch.get_num_threads(),
        temperature=temperature(logits[rows], division.labels[rows]),
        described={"shapes": inputs.shapes(), "speakers": inputs.speakers},
    )


def temperature(logits: NDArray[np.float32], labels: NDArray[np.intp]) -> float:
    """What to divide ``logits`` by so that they are as sure as they are right.

    It minimises the log loss of ``labels`` and changes no prediction (Guo et al. 2017).
    """
    scores, truth = torch.from_numpy(logits).double(), torch.from_numpy(labels)
    candidates = np.exp(np.linspace(-3, 3, 601)).tolist()
    losses = [float(nn.functional.cross_entropy(scores / one, truth)) for one in candidates]
    return float(candidates[int(np.argmin(losses))])


class _Trainer:
    """Network, data and loss of one fit; made once, run once."""

    def __init__(
        self,
        fabric: Fabric,
        network: FusionNetwork,
        inputs: Inputs,
        labels: NDArray[np.intp],
        fit_rows: NDArray[np.intp],
        config: FusionConfig,
    ) -> None:
        self.fabric, self.config, self.inputs = fabric, config, inputs
        self.labels = torch.from_numpy(labels)
        self.fit = torch.zeros(len(labels), dtype=torch.bool)
        self.fit[torch.from_numpy(fit_rows)] = True
        self.dialogues = self._with_any(fit_rows)
        weights = class_weights(labels[fit_rows], len(EMOTIONS), config.class_weighting)
        self.loss = nn.CrossEntropyLoss(torch.from_numpy(weights).to(fabric.device))
        optimiser = torch.optim.AdamW(
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.raw, (self.network, self.optimiser) = network, fabric.setup(network, optimiser)

    def run(
        self,
        choose_rows: NDArray[np.intp],
        on_epoch: Callable[[Epoch], None] | None,
        checkpoints: Checkpoints | None,
    ) -> Progress:
        """Train until dev stops improving; the best epoch's parameters are left in place."""
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
            or done - best(progress.history).epoch >= self.config.patience
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

    def _judge(self, rows: NDArray[np.intp]) -> tuple[float, float]:
        """Weighted loss and weighted F1 on ``rows``."""
        logits = torch.from_numpy(self.predict(rows)[0][rows])
        truth = self.labels[torch.from_numpy(rows)]
        f1 = f1_score(
            truth.numpy(),
            logits.argmax(dim=1).numpy(),
            labels=range(len(EMOTIONS)),
            average="weighted",
            zero_division=0,
        )
        weight = None if self.loss.weight is None else self.loss.weight.cpu()
        each = nn.functional.cross_entropy(logits, truth, weight, reduction="sum")
        return each.item() / len(rows), float(f1)

    def predict(self, rows: NDArray[np.intp]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Logits (n, 7) and fused vectors (n, F), filled in for the dialogues of ``rows``."""
        self.network.eval()
        logits = np.zeros((len(self.labels), len(EMOTIONS)), dtype=np.float32)
        fused = np.zeros((len(self.labels), self.raw.head.in_features), dtype=np.float32)
        dialogues = self._with_any(rows)
        with torch.inference_mode():
            for start in range(0, len(dialogues), _EVAL_BATCH):
                batch, some = self._batch(dialogues[start : start + _EVAL_BATCH])
                output = self.network(batch)
                logits[some] = output.logits.float().cpu().numpy()
                fused[some] = output.fused.float().cpu().numpy()
        return logits, fused

    def _with_any(self, rows: NDArray[np.intp]) -> list[NDArray[np.intp]]:
        """The dialogues that hold any of ``rows``, whole."""
        asked = np.zeros(len(self.labels), dtype=bool)
        asked[rows] = True
        return [one for one in self.inputs.dialogues if asked[one].any()]

    def _batch(self, dialogues: Sequence[NDArray[np.intp]]) -> tuple[Batch, NDArray[np.intp]]:
        """The dialogues as the network sees them, and their rows one after another."""
        return batch_of(self.inputs, dialogues, self.fabric.device), np.concatenate(dialogues)
