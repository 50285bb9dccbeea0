"""What both networks are trained by, and what they say of rows; free of torch."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    ClassVar,
    Generic,
    Literal,
    NamedTuple,
    TypeAlias,
    TypeVar,
)

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

if TYPE_CHECKING:
    from torch import nn

Precision: TypeAlias = Literal["32-true", "bf16-mixed", "16-mixed"]
"""What a network computes with; mixed ones pay on GPUs."""

# Where one such record is part of another, to_json takes its way of writing NaN for the whole.
STRICT = ConfigDict(extra="forbid", ser_json_inf_nan="strings")
"""A setting that nobody knows is refused: one of a newer release would go unheeded."""

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**32)]
Count: TypeAlias = Annotated[int, Field(ge=1, le=10_000)]
BatchSize: TypeAlias = Annotated[int, Field(ge=1, le=65_536)]
Dropped: TypeAlias = Annotated[float, Field(ge=0, le=0.95, allow_inf_nan=False)]
"""A share that is left out at random."""
Rate: TypeAlias = Annotated[float, Field(ge=1e-8, le=10, allow_inf_nan=False)]
Candidates: TypeAlias = Annotated[
    tuple[Annotated[float, Field(ge=1e-8, le=1e8, allow_inf_nan=False)], ...], Field(min_length=1)
]


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TrainConfig:
    """What changes the result of any network, besides the features themselves.

    Free of torch, so that a command line can read it. pydantic refuses values out of range.
    """

    seed: Seed = 0
    """Seeds the initial weights, the order of what is learned from and all that is dropped."""
    epochs: Count = 40
    """Upper bound; early stopping usually ends sooner."""
    batch_size: BatchSize
    """Rows per step; of context fusion dialogues, about ten rows each in MELD."""
    learning_rate: Rate
    weight_decay: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] = 1e-2
    patience: Count
    """Epochs without a better weighted F1 on dev before training stops."""
    dropout: Dropped
    class_weighting: Literal["none", "sqrt", "balanced"] = "sqrt"
    """How much rare emotions weigh in the loss."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """``auto`` is an accelerator where there is one."""
    precision: Precision = "32-true"
    """What the network computes with; its parameters are always float32."""
    svm_c: Candidates
    """Candidates for C; dev decides."""
    svm_gamma: Candidates
    """Candidates for gamma as multiples of 1 / n_inputs; dev decides."""

    RESUMES: ClassVar[bool] = False
    """Whether the network's state is kept after each epoch: 90 MB per seed of the reference
    network, which is trained in minutes."""

    @property
    def grid(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """The candidates for C and gamma."""
        return self.svm_c, self.svm_gamma

    def rate(self, done: int) -> float:
        """The learning rate of the epoch after ``done`` ones."""
        del done
        return self.learning_rate


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
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


T = TypeVar("T")


class Output(NamedTuple, Generic[T]):
    """What a network gives for m rows, as tensors or as arrays."""

    logits: T
    """One score per class, shape (m, k)."""
    fused: T
    """What the SVM sees, shape (m, width)."""
    attention: T
    """How much each thing attended to counts, averaged over heads; rows sum to 1, shape (m, a)."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A part of a network."""

    name: str
    kind: str
    parameters: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """A fitted network with what it says of every row of the table."""

    state: dict[str, NDArray[np.float32]]
    """Parameters of the best epoch, by their torch names."""
    history: tuple[Epoch, ...]
    best_epoch: int
    said: Output[NDArray[np.float32]]
    """What it says of every row of the table."""
    attended: tuple[str, ...]
    """What its attention is over."""
    layers: tuple[Layer, ...]
    threads: int
    """Threads that torch computed with; another number may round differently."""
    temperature: float = 1.0
    """What the logits are divided by before they become probabilities."""
    described: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """What else a saved model needs to be built again, JSON values."""


def layers_of(network: "nn.Module") -> tuple[Layer, ...]:
    """The parts of a network and their trainable parameters, its own parameters last."""
    found = [
        Layer(name=name, kind=type(part).__name__.strip("_"), parameters=_count(part))
        for name, part in network.named_children()
    ]
    own = sum(p.numel() for p in network.parameters(recurse=False) if p.requires_grad)
    if own:
        found.append(Layer(name="scales", kind="Parameter", parameters=own))
    return tuple(one for one in found if one.parameters)


def _count(part: "nn.Module") -> int:
    return sum(p.numel() for p in part.parameters() if p.requires_grad)
