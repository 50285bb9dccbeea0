"""The knobs of a training run; free of torch, so that a command line can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from meldflow.models.networks.common import CLASS_WEIGHTS
from meldflow.models.schema.errors import UsageError


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
