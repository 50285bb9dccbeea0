"""What both networks are trained by: epochs, and weights of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


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
