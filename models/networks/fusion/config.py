"""The knobs of context fusion; free of torch, so that a command line can read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from meldflow.models.networks.common import CLASS_WEIGHTS
from meldflow.models.schema.errors import UsageError

Precision: TypeAlias = Literal["32-true", "bf16-mixed", "16-mixed"]
"""What Lightning Fabric calls them; mixed ones pay on GPUs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FusionConfig:
    """Everything that changes a result, besides the features themselves.

    The defaults were chosen on MELD's dev split with text alone; ``docs/text-result.md`` says
    what was tried.
    """

    seed: int = 0
    """Seeds the initial weights, the order of the dialogues and everything that is dropped."""
    epochs: int = 40
    """Upper bound; early stopping usually ends sooner."""
    decay: int = 20
    """Epochs over which the learning rate falls to next to nothing."""
    batch_size: int = 32
    """Dialogues per step, about ten utterances each in MELD."""
    learning_rate: float = 5e-4
    weight_decay: float = 1e-2
    patience: int = 6
    """Epochs without a better weighted F1 on dev before training stops."""
    width: int = 192
    """Length of every modality's vector and of the dialogue's state."""
    heads: int = 4
    """Heads of the attention over modalities; ``width`` is a multiple of it."""
    speaker_width: int = 32
    """Length of a speaker's vector; 0 leaves speakers out."""
    speaker_share: float = 0.02
    """Who speaks a smaller share of the fit rows is somebody, without a vector of their own."""
    causal: bool = False
    """Whether an utterance sees only what was said before it, for live use."""
    input_dropout: float = 0.2
    """On the standardised features."""
    dropout: float = 0.4
    """On the modalities' vectors, the dialogue's state and the attention weights."""
    modality_dropout: float = 0.15
    """How often a modality of an utterance is taken away in training, never the last one."""
    class_weighting: str = "sqrt"
    """``none``, ``sqrt`` or ``balanced``: how much rare emotions weigh in the loss."""
    longest: int = 64
    """Longer dialogues are cut into pieces of so many utterances."""
    device: str = "cpu"
    """``cpu``, ``cuda`` or ``auto``, as Lightning Fabric takes it."""
    precision: Precision = "32-true"
    """What the network computes with; its parameters are always float32."""
    svm_c: tuple[float, ...] = (0.3, 1.0, 3.0)
    """Candidates for C; dev decides."""
    svm_gamma: tuple[float, ...] = (0.1,)
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
        for name, known in _WORDS.items():
            if getattr(self, name) not in known:
                raise UsageError(
                    f"training: {name} {getattr(self, name)!r}, one of {', '.join(known)}"
                )
        if self.width % (2 * self.heads):
            raise UsageError(
                f"training: width is {self.width}, must be a multiple of twice heads, {self.heads}"
            )


_RANGES: Mapping[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "epochs": (1, 10_000),
    "decay": (1, 10_000),
    "batch_size": (1, 65_536),
    "learning_rate": (1e-8, 10.0),
    "weight_decay": (0.0, 10.0),
    "patience": (1, 10_000),
    "width": (2, 8192),
    "heads": (1, 64),
    "speaker_width": (0, 1024),
    "speaker_share": (0.0, 1.0),
    "input_dropout": (0.0, 0.95),
    "dropout": (0.0, 0.95),
    "modality_dropout": (0.0, 0.95),
    "longest": (1, 10_000),
    "svm_c": (1e-8, 1e8),
    "svm_gamma": (1e-8, 1e8),
}
"""Smallest and largest value of each number, and of each number in a tuple."""
_WORDS: Mapping[str, tuple[str, ...]] = {
    "class_weighting": tuple(CLASS_WEIGHTS),
    "precision": get_args(Precision),
    "device": ("cpu", "cuda", "auto"),
}
