"""What both networks are trained by: settings, epochs, weights of the classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError

Precision: TypeAlias = Literal["32-true", "bf16-mixed", "16-mixed"]
"""What a network computes with; mixed ones pay on GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """What changes the result of any network, besides the features themselves.

    Free of torch, so that a command line can read it.
    """

    seed: int = 0
    """Seeds the initial weights, the order of what is learned from and all that is dropped."""
    epochs: int = 40
    """Upper bound; early stopping usually ends sooner."""
    batch_size: int
    """Rows per step; of context fusion dialogues, about ten rows each in MELD."""
    learning_rate: float
    weight_decay: float = 1e-2
    patience: int
    """Epochs without a better weighted F1 on dev before training stops."""
    dropout: float
    class_weighting: str = "sqrt"
    """``none``, ``sqrt`` or ``balanced``: how much rare emotions weigh in the loss."""
    device: str = "cpu"
    """``cpu``, ``cuda``, or ``auto`` for an accelerator where there is one."""
    precision: Precision = "32-true"
    """What the network computes with; its parameters are always float32."""
    svm_c: tuple[float, ...]
    """Candidates for C; dev decides."""
    svm_gamma: tuple[float, ...]
    """Candidates for gamma as multiples of 1 / n_inputs; dev decides."""

    RESUMES: ClassVar[bool] = False
    """Whether the network's state is kept after each epoch: 90 MB per seed of the reference
    network, which is trained in minutes."""
    RANGES: ClassVar[Mapping[str, tuple[float, float]]] = {
        "seed": (0, 2**32 - 1),
        "epochs": (1, 10_000),
        "batch_size": (1, 65_536),
        "learning_rate": (1e-8, 10.0),
        "weight_decay": (0.0, 10.0),
        "patience": (1, 10_000),
        "dropout": (0.0, 0.95),
        "svm_c": (1e-8, 1e8),
        "svm_gamma": (1e-8, 1e8),
    }
    """Smallest and largest value of each number, and of each number in a tuple."""

    def __post_init__(self) -> None:
        """Refuses a value that is out of its range, by name (``UsageError``)."""
        for name, (low, high) in self.RANGES.items():
            value = getattr(self, name)
            numbers = value if isinstance(value, tuple) else (value,)
            if not numbers or not all(low <= number <= high for number in numbers):
                raise UsageError(f"training: {name} is {value!r}, must be {low:g} to {high:g}")
        for name, known in _NAMES.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"training: {name} {getattr(self, name)!r}, one of {', '.join(known)}"
                )

    def rate(self, done: int) -> float:
        """The learning rate of the epoch after ``done`` ones."""
        del done
        return self.learning_rate


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

_NAMES: Mapping[str, tuple[str, ...]] = {
    "class_weighting": tuple(CLASS_WEIGHTS),
    "precision": get_args(Precision),
    "device": ("cpu", "cuda", "auto"),
}
