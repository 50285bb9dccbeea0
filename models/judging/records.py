"""What comes out of a training run: plain records, free of torch and scikit-learn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from numpy.typing import NDArray

from models.fusion.config import FusionConfig
from models.reference.config import Epoch, TrainConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One use of rows, for the report."""

    object: str
    """What was fitted, chosen or judged, e.g. ``StandardScaler(audio/wav2vec2/mean)``."""
    split: str
    rows: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One point of the grid and what dev says of it."""

    c: float
    gamma: float
    """The kernel's gamma itself, not the multiple."""
    dev_weighted_f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """One line of the metrics table; fractions within [0, 1]."""

    rows: int
    accuracy: float
    weighted_precision: float
    weighted_recall: float
    weighted_f1: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    weighted_f1_low: float
    """Lower end of the 95 % bootstrap interval of the weighted F1."""
    weighted_f1_high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EmotionScore:
    """How one emotion fares."""

    emotion: str
    total: int
    correct: int
    wrong: int
    percent: float | None
    """Correct of total (recall), per cent; None when there is no such utterance."""
    precision: float | None
    """Correct of those called so; None when none was."""
    f1: float | None
    """None when there is no such utterance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One-versus-rest ROC of one emotion."""

    emotion: str
    auc: float | None
    """None when the emotion or its opposite is absent, or was never seen in training."""
    false_positive_rate: tuple[float, ...] = ()
    true_positive_rate: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Everything said of one classifier: summary on dev and test, details on test."""

    dev: Scores
    test: Scores
    per_emotion: tuple[EmotionScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows: true emotion, columns: predicted, both in the order of ``EMOTIONS``."""
    roc: tuple[Curve, ...] = ()
    """One per emotion; empty for a classifier without scores."""
    predicted: tuple[str, ...] = ()
    """The emotion given to each test row, in the order of the rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Something that a reader has to know before trusting the numbers."""

    kind: str
    """Short name for machines, e.g. ``random_weights``."""
    message: str
    """One or two sentences for people."""

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Where the run took place."""

    cpu: str
    cores: int
    """Cores that the process may use."""
    torch_threads: int
    memory_gib: float
    """Main memory of the machine, GiB."""
    system: str
    """Operating system and processor architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Data:
    """What the models were given."""

    snapshot: str
    store: str
    keys: Mapping[str, str]
    """Extractor → key of its rows."""
    weights: Mapping[str, str]
    """Extractor → ``pretrained``, ``random``, ``folder`` or ``none``."""
    rows: Mapping[str, int]
    """Split → utterances."""
    emotions: Mapping[str, Mapping[str, int]]
    """Split → emotion → utterances."""
    present: Mapping[str, Mapping[str, int]]
    """Feature → split → utterances that have it."""
    missing: Mapping[str, Mapping[str, int]]
    """Extractor → reason → utterances without its feature."""
    repeated_texts: int
    """Test utterances whose text also occurs, word for word, in train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """Everything that a run found out; ``to_json`` gives all but the model's arrays."""

    protocol: str
    protocol_description: str
    started: str
    """Date and time, UTC, ISO 8601."""
    command: str
    """The command line that repeats this run."""
    network: str
    """``reference`` or ``fusion``."""
    modalities: tuple[str, ...]
    """Those that the network was given."""
    config: TrainConfig | FusionConfig
    data: Data
    hardware: Hardware
    versions: Mapping[str, str]
    """Python and package → version."""
    durations: Mapping[str, float]
    """Stage → seconds."""
    parameters: int
    """Trainable parameters of the network."""
    judged: Mapping[str, Judgement]
    """``network``, ``svm`` and ``majority`` → their judgement."""
    winner: str
    """The model with the best weighted F1 on dev (not test), majority excluded."""
    history: tuple[Epoch, ...]
    best_epoch: int
    temperature: float
    """What the network's logits are divided by before they become probabilities."""
    described: Mapping[str, Any]
    """What a saved model needs beside its arrays, JSON values."""
    svm_chosen: Candidate
    svm_grid: tuple[Candidate, ...]
    fitted: tuple[Use, ...]
    chosen: tuple[Use, ...]
    judgements: tuple[Use, ...]
    warnings: tuple[Caution, ...]
    test_ids: tuple[str, ...]
    """Names of the test rows, in the order of ``Judgement.predicted``."""
    test_truth: tuple[str, ...]
    """Their annotated emotions."""
    model: Mapping[str, Mapping[str, NDArray[Any]]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """File stem (``network``, ``scalers``, ``svm``) → array name → values."""

    def to_json(self) -> dict[str, Any]:
        """The contents of ``results.json``: dicts, lists, strings, numbers and None."""
        judged = self.judged.items()
        projection = getattr(self.config, "projection_seed", None)
        seeds = {"training": self.config.seed, "projection": projection}
        return {
            "protocol": self.protocol,
            "protocol_description": self.protocol_description,
            "network": self.network,
            "modalities": list(self.modalities),
            "temperature": self.temperature,
            "started": self.started,
            "command": self.command,
            **asdict(self.data),
            "config": asdict(self.config),
            "seeds": seeds | {"bootstrap": 0},
            "hardware": asdict(self.hardware),
            "versions": dict(self.versions),
            "durations": dict(self.durations),
            "parameters": self.parameters,
            "winner": self.winner,
            "scores": {
                name: {"dev": asdict(one.dev), "test": asdict(one.test)} for name, one in judged
            },
            "per_emotion": {name: [asdict(e) for e in one.per_emotion] for name, one in judged},
            "confusion": {name: [list(row) for row in one.confusion] for name, one in judged},
            "auc": {name: {c.emotion: c.auc for c in one.roc} for name, one in judged if one.roc},
            "roc": {name: [asdict(c) for c in one.roc] for name, one in judged if one.roc},
            "history": [asdict(epoch) for epoch in self.history],
            "best_epoch": self.best_epoch,
            "svm": {
                "chosen": asdict(self.svm_chosen),
                "grid": [asdict(one) for one in self.svm_grid],
            },
            "fitted": [asdict(use) for use in self.fitted],
            "chosen": [asdict(use) for use in self.chosen],
            "judged": [asdict(use) for use in self.judgements],
            "warnings": [asdict(caution) for caution in self.warnings],
        }
