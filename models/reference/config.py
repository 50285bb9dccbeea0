"""The knobs of a training run; free of torch, so that a command line can read it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.schema import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that changes a result, besides the features themselves.

    The defaults were chosen on MELD's dev split with MiniLM sentence vectors alone (one
    seed; weighted F1 of the network): class weights ``sqrt`` 0.549, ``balanced`` 0.527,
    ``none`` 0.525; learning rate 3e-4 0.549, 1e-4 0.546.
    """

    seed: int = 0
    """Seeds the initial weights, the order of the rows and the dropout."""
    projection_seed: int = 20180
    """Seeds the random projections to 512; part of the adapters, not of the experiment."""
    epochs: int = 40
    """Upper bound; early stopping usually ends sooner."""
    batch_size: int = 64
    learning_rate: float = 3e-4
    weight_decay: float = 1e-2
    patience: int = 8
    """Epochs without a better weighted F1 on dev before training stops."""
    dropout: float = 0.3
    """On the fused vector and on the attention weights; it has no parameters to count."""
    class_weighting: str = "sqrt"
    """``none``, ``sqrt`` or ``balanced``: how much rare emotions weigh in the loss."""
    svm_c: tuple[float, ...] = (0.3, 1.0, 3.0, 10.0)
    """Candidates for C; dev decides."""
    svm_gamma: tuple[float, ...] = (0.03, 0.1, 0.3, 1.0)
    """Candidates for gamma as multiples of 1 / n_inputs; dev decides."""

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            UsageError: a value is out of its range; the message names it.
        """
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not numbers or not all(low <= number <= high for number in numbers):
                raise UsageError(f"training: {name} is {value!r}, must be {low:g} to {high:g}")
        if self.class_weighting not in CLASS_WEIGHTS:
            known = ", ".join(CLASS_WEIGHTS)
            raise UsageError(f"training: class_weighting {self.class_weighting!r}, one of {known}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one pass over the training rows gave."""

    epoch: int
    """From 1."""
    train_loss: float
    dev_loss: float | None
    """None where the protocol chooses nothing."""
    dev_weighted_f1: float | None
    seconds: float


def best(history: tuple[Epoch, ...]) -> Epoch:
    """The epoch with the highest weighted F1 on dev, the first of equals; without dev the last."""
    return max(
        history,
        key=lambda one: (
            (0.0, one.epoch) if one.dev_weighted_f1 is None else (one.dev_weighted_f1, -one.epoch)
        ),
    )


_RANGES: Mapping[str, tuple[float, float]] = {
    "epochs": (1, 10_000),
    "batch_size": (1, 65_536),
    "patience": (1, 10_000),
    "learning_rate": (1e-8, 10.0),
    "weight_decay": (0.0, 10.0),
    "dropout": (0.0, 0.95),
    "seed": (0, 2**32 - 1),
    "projection_seed": (0, 2**32 - 1),
    "svm_c": (1e-8, 1e8),
    "svm_gamma": (1e-8, 1e8),
}
"""Smallest and largest value of each number, and of each number in a tuple."""


def class_weights(labels: NDArray[np.intp], n_classes: int, kind: str) -> NDArray[np.float32]:
    """Weight of each class in the loss, shape (n_classes,), mean 1 over the labels given.

    ``balanced`` is n / (n_classes_present * count); ``sqrt`` its square root. A class
    without rows weighs 0.
    """
    counts = np.bincount(labels, minlength=n_classes).astype(np.float64)
    seen = counts > 0
    raw = np.zeros(n_classes)
    raw[seen] = CLASS_WEIGHTS[kind](counts[seen])
    return np.asarray(raw * counts.sum() / (raw * counts).sum(), dtype=np.float32)


CLASS_WEIGHTS: Mapping[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "none": np.ones_like,
    "sqrt": lambda counts: 1 / np.sqrt(counts),
    "balanced": lambda counts: 1 / counts,
}
"""How a class's weight depends on its row count, up to a common factor."""
