"""What comes out of a training run: plain records, the same after JSON and back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Self

from meldflow.models.judging.records import JUDGED, Candidate, Comparison, Judgement, Scores, Use
from meldflow.models.networks.common import Epoch, Layer
from meldflow.models.running.hardware import Hardware
from meldflow.models.training.networks import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over the seeds."""

    mean: float
    sd: float | None
    """Standard deviation (n - 1); None for one seed."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        """The spread of one value per seed."""
        each = list(values)
        return cls(mean=fmean(each), sd=stdev(each) if len(each) > 1 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """The same procedure with less to go on."""

    name: str
    """``text``, ``audio+text``, …, or ``svm: text`` for an SVM without a network."""
    modalities: tuple[str, ...]
    seeds: int
    dev: Mapping[str, Spread]
    """Metric → spread over the seeds; empty where the protocol chooses nothing."""
    test: Mapping[str, Spread]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """How much a network looks at each modality, mean over the test rows of each class."""

    modalities: tuple[str, ...]
    by_class: Mapping[str, tuple[float, ...]]
    """Class → weights that sum to 1; a class without test rows is left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hard:
    """A test utterance that the chosen classifier got badly wrong."""

    utterance: str
    speaker: str
    text: str
    truth: str
    predicted: str
    probability: float
    """What the classifier thought of the truth."""


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
    labels: Mapping[str, Mapping[str, int]]
    """Split → class → utterances."""
    present: Mapping[str, Mapping[str, int]]
    """Feature → split → utterances that have it."""
    missing: Mapping[str, Mapping[str, int]]
    """Extractor → reason → utterances without its feature."""
    repeated_texts: int
    """Test utterances whose text also occurs, word for word, in train."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedResult:
    """What one seed gave."""

    seed: int
    judged: Mapping[str, Judgement]
    """``network``, ``svm`` and ``majority`` → their judgement."""
    beside: Mapping[str, Mapping[str, Judgement]]
    """Other part of the rows → the same, for comparison."""
    history: tuple[Epoch, ...]
    best_epoch: int
    svm_chosen: Candidate
    svm_grid: tuple[Candidate, ...]
    attention: Attention
    durations: Mapping[str, float]
    """Stage → seconds."""

    def scores(self, model: str, part: str = JUDGED) -> Scores | None:
        """Those of a classifier on ``part``, named as in ``TrainResult.over_seeds``."""
        if part == "dev":
            return self.judged[model].dev
        judged = self.judged if part == JUDGED else self.beside.get(part, {})
        return judged[model].test if judged else None

    def on_dev(self, model: str) -> float:
        """The weighted F1 that a classifier is chosen by; 0 where nothing is chosen."""
        dev = self.judged[model].dev
        return 0.0 if dev is None else dev.weighted_f1


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """Everything that a training run found out: plain values, the same after JSON and back."""

    protocol: str
    started: str = ""
    """Date and time, UTC, ISO 8601."""
    command: str = ""
    """The command line that repeats this run."""
    network: str
    """``reference`` or ``fusion``."""
    modalities: tuple[str, ...]
    """Those that the network was given."""
    target: str
    """``emotion`` or ``sentiment``."""
    classes: tuple[str, ...]
    config: Config
    """The settings of the first seed; the others differ in the seed."""
    data: Data
    hardware: Hardware
    versions: Mapping[str, str]
    """Python and package → version."""
    seconds: float = 0.0
    """How long everything took, reading from the store included."""
    read_seconds: float
    """How long the reading took."""
    layers: tuple[Layer, ...]
    seeds: tuple[SeedResult, ...]
    winner: str
    """``network`` or ``svm``: the better weighted F1 on dev, mean over the seeds."""
    ablations: tuple[Ablation, ...]
    test_ids: tuple[str, ...]
    """Names of the test rows, in the order of ``Judgement.predicted``."""
    test_truth: tuple[str, ...]
    """Their annotated classes."""
    comparisons: tuple[Comparison, ...] = ()
    """The winner against every other."""
    hardest: tuple[Hard, ...] = ()
    """What the winner got most badly wrong, the worst first."""
    fitted: tuple[Use, ...] = ()
    chosen: tuple[Use, ...] = ()
    judgements: tuple[Use, ...] = ()
    warnings: tuple[Caution, ...] = ()

    @property
    def shown(self) -> SeedResult:
        """The seed whose model is kept and shown in full: dev chooses, test is not asked."""
        return max(self.seeds, key=lambda one: one.on_dev(self.winner))

    @property
    def judged(self) -> Mapping[str, Judgement]:
        """The judgements of the seed that is shown."""
        return self.shown.judged

    @property
    def parameters(self) -> int:
        """Trainable parameters of the network."""
        return sum(layer.parameters for layer in self.layers)

    def over_seeds(self, model: str, metric: str, part: str = JUDGED) -> Spread | None:
        """A metric of a classifier over the seeds; None where ``part`` has no scores.

        Args:
            model: ``network``, ``svm`` or ``majority``.
            metric: a field of ``Scores``.
            part: ``JUDGED``, ``dev``, or a part that the models are judged on besides.
        """
        scores = [one for seed in self.seeds if (one := seed.scores(model, part)) is not None]
        return Spread.of(getattr(one, metric) for one in scores) if scores else None
