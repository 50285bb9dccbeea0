"""What a fitted network says of every row: what the judges look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.reference.config import Epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted network with what it says of every row of the table."""

    state: dict[str, NDArray[np.float32]]
    """Parameters of the best epoch, by their torch names."""
    history: tuple[Epoch, ...]
    best_epoch: int
    logits: NDArray[np.float32]
    """Shape (n, 7)."""
    fused: NDArray[np.float32]
    """What the SVM sees, shape (n, width)."""
    parameters: int
    """Trainable parameters."""
    threads: int
    """Threads that torch computed with; another number may round differently."""
    temperature: float = 1.0
    """What the logits are divided by, so that probabilities fit dev (Guo et al. 2017)."""
    described: Mapping[str, Any] = field(default_factory=dict)
    """What else a saved model needs to be built again, JSON values."""

    def log_probabilities(self) -> NDArray[np.float64]:
        """Log softmax of the logits, shape (n, 7): scores that compare across utterances."""
        logits = self.logits.astype(np.float64) / self.temperature
        shifted = logits - logits.max(axis=1, keepdims=True)
        return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))
