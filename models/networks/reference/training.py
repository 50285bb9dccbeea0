"""Fits the reference network: AdamW, weighted loss, early stopping on dev."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meldflow.models.judging.calibration import temperature
from meldflow.models.judging.metrics import weighted_f1
from meldflow.models.judging.protocols import Division, Ledger
from meldflow.models.networks.common import Epoch, best, class_weights
from meldflow.models.networks.fitted import Fitted, layers_of
from meldflow.models.networks.reference.config import TrainConfig
from meldflow.models.networks.reference.inputs import Inputs
from meldflow.models.networks.reference.network import ATTENDED, Batch, Output, ReferenceNetwork

_EVAL_BATCH = 1024


def fit_network(
    inputs: Inputs,
    division: Division,
    config: TrainConfig,
    ledger: Ledger,
    on_epoch: Callable[[Epoch], None] | None = None,
) -> Fitted:
    """The reference network at its best epoch on dev, applied to every row.

    The same inputs, config and number of threads give the same bits on one machine; the
    caller's random state is left alone.

    Args:
        inputs: all rows; only those of ``division`` named for fitting and choosing are used
            before the last pass over everything.
        division: rows by purpose, and labels.
        config: see its fields.
        ledger: gets an entry for the fit, the choice of the epoch, and the temperature.
        on_epoch: called after each epoch.

    Raises:
        LeakError: ``division`` and ``ledger`` disagree.
    """
    fit_rows = ledger.fit("ReferenceNetwork", division.fit)
    choose_rows = division.choose
    if len(choose_rows):
        ledger.choose("ReferenceNetwork: epoch and temperature", choose_rows)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = ReferenceNetwork(config.dropout, len(division.classes))
        data = Batch(*(torch.from_numpy(getattr(inputs, name)) for name in Batch._fields))
        labels = torch.from_numpy(division.labels)
        weights = class_weights(
            division.labels[fit_rows], len(division.classes), config.class_weighting
        )
        trainer = _Trainer(network, data, labels, nn.CrossEntropyLoss(torch.from_numpy(weights)))
        history = trainer.run(fit_rows, choose_rows, config, on_epoch)
    said = trainer.predict(np.arange(len(labels)))
    logits = said.logits.numpy()
    return Fitted(
        state={name: value.numpy().copy() for name, value in network.state_dict().items()},
        history=history,
        best_epoch=best(history).epoch,
        logits=logits,
        fused=said.fused.numpy(),
        attention=said.attention.mean(dim=1).numpy(),
        attended=ATTENDED,
        layers=layers_of(network),
        threads=torch.get_num_threads(),
        temperature=temperature(logits[choose_rows], division.labels[choose_rows]),
    )


class _Trainer:
    """Network, data and loss of one fit; made once, run once."""

    def __init__(
        self, network: ReferenceNetwork, data: Batch, labels: Tensor, loss: nn.CrossEntropyLoss
    ) -> None:
        self.network, self.data, self.labels, self.loss = network, data, labels, loss

    def run(
        self,
        fit_rows: NDArray[np.intp],
        choose_rows: NDArray[np.intp],
        config: TrainConfig,
        on_epoch: Callable[[Epoch], None] | None,
    ) -> tuple[Epoch, ...]:
        """Train until dev stops improving; the best epoch's parameters are left in place.

        Without rows to choose on, all epochs are run and the last one is kept.
        """
        optimiser = torch.optim.AdamW(
            self.network.parameters(),
            lr=config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,  # a quarter of an epoch's time goes into the step otherwise
        )
        order = torch.Generator().manual_seed(config.seed)
        history: tuple[Epoch, ...] = ()
        kept: dict[str, Tensor] = {}
        for number in range(1, config.epochs + 1):
            started = time.perf_counter()
            shuffled = fit_rows[torch.randperm(len(fit_rows), generator=order).numpy()]
            train_loss = self._epoch(optimiser, shuffled, config.batch_size)
            dev_loss, dev_f1 = self._judge(choose_rows)
            history += (
                Epoch(
                    epoch=number,
                    train_loss=train_loss,
                    dev_loss=dev_loss,
                    dev_weighted_f1=dev_f1,
                    seconds=time.perf_counter() - started,
                ),
            )
            if best(history).epoch == number:
                kept = {name: value.clone() for name, value in self.network.state_dict().items()}
            if on_epoch is not None:
                on_epoch(history[-1])
            if len(choose_rows) and number - best(history).epoch >= config.patience:
                break
        self.network.load_state_dict(kept)
        return history

    def _epoch(self, optimiser: torch.optim.AdamW, rows: NDArray[np.intp], size: int) -> float:
        """One pass over ``rows`` in their order; gives the mean training loss."""
        self.network.train()
        total = 0.0
        for start in range(0, len(rows), size):
            chosen = torch.from_numpy(rows[start : start + size])
            optimiser.zero_grad()
            loss = self.loss(self.network(self._batch(chosen)).logits, self.labels[chosen])
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
            optimiser.step()
            total += loss.item() * len(chosen)
        return total / len(rows)

    def _judge(self, rows: NDArray[np.intp]) -> tuple[float | None, float | None]:
        """Weighted loss and weighted F1 on ``rows``; None of none."""
        if not len(rows):
            return None, None
        logits = self.predict(rows).logits
        truth = self.labels[torch.from_numpy(rows)]
        f1 = weighted_f1(truth.numpy(), logits.argmax(dim=1).numpy())
        # Summed by hand: the loss module divides by the weights met, 0 if dev holds only
        # classes that train lacks.
        each = nn.functional.cross_entropy(logits, truth, self.loss.weight, reduction="sum")
        return each.item() / len(rows), f1

    def predict(self, rows: NDArray[np.intp]) -> Output:
        """What the network says of ``rows``, without dropout."""
        self.network.eval()
        with torch.inference_mode():
            parts = torch.split(torch.from_numpy(rows), _EVAL_BATCH)
            outputs = [self.network(self._batch(part)) for part in parts]
        return Output(*(torch.cat(one) for one in zip(*outputs, strict=True)))

    def _batch(self, rows: Tensor) -> Batch:
        return Batch(*(values[rows] for values in self.data))
