"""What comes out of a training run: plain records, free of torch and scikit-learn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from models.fusion.config import FusionConfig
from models.reference.config import Epoch, TrainConfig

JUDGED = "judged"
"""Stands for the rows that the protocol judges on: test, in a sound one."""


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
    dev_weighted_f1: float | None
    """None where the protocol chooses nothing."""


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
class ClassScore:
    """How one class fares."""

    label: str
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
    """One-versus-rest ROC of one class."""

    label: str
    auc: float | None
    """None when the class or its opposite is absent, or was never seen in training."""
    false_positive_rate: tuple[float, ...] = ()
    true_positive_rate: tuple[float, ...] = ()


BINS = 10
"""Bins of a ``Reliability``, of equal width."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Utterances of which a classifier was about equally sure."""

    rows: int
    confidence: float
    """Mean probability of what was predicted."""
    accuracy: float
    """Share of them that was right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reliability:
    """Whether a classifier is as sure as it is right (Guo et al. 2017)."""

    temperature: float
    """What its scores are divided by before they become probabilities; chosen on dev."""
    error: float
    """Expected calibration error: mean gap between confidence and accuracy, within [0, 1]."""
    bins: tuple[Bin, ...]
    """Of ``BINS``, from unsure to sure; those without utterances are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """Everything said of one classifier: summary on dev and test, details on test.

    Test stands here for whatever rows the protocol judges on.
    """

    dev: Scores | None
    """None where the protocol chooses nothing."""
    test: Scores
    per_class: tuple[ClassScore, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Rows: true class, columns: predicted, both in the order of the target's classes."""
    roc: tuple[Curve, ...] = ()
    """One per class; empty for a classifier without scores."""
    reliability: Reliability | None = None
    """None for a classifier without probabilities."""
    predicted: tuple[str, ...] = ()
    """The class given to each test row, in the order of the rows."""
    probability: tuple[float, ...] = ()
    """What it thought of each test row's true class, within [0, 1]; empty without any."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two classifiers on the same test rows."""

    one: str
    other: str
    difference: float
    """Weighted F1 of ``one`` minus that of ``other``."""
    low: float
    """Lower end of its 95 % interval, from resampling utterances in pairs."""
    high: float
    only_one: int
    """Utterances that ``one`` alone has right."""
    only_other: int
    p: float
    """That they are wrong equally often: McNemar's exact test, two-sided."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """A figure over the seeds."""

    mean: float
    sd: float | None
    """Standard deviation (n - 1); None for one seed."""

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
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
class Layer:
    """A part of a network."""

    name: str
    kind: str
    parameters: int


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


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """Everything that a training run found out: plain values, the same after JSON and back."""

    protocol: str
    started: str
    """Date and time, UTC, ISO 8601."""
    command: str
    """The command line that repeats this run."""
    network: str
    """``reference`` or ``fusion``."""
    modalities: tuple[str, ...]
    """Those that the network was given."""
    target: str
    """``emotion`` or ``sentiment``."""
    classes: tuple[str, ...]
    config: TrainConfig | FusionConfig
    """The settings of the first seed; the others differ in the seed."""
    data: Data
    hardware: Hardware
    versions: Mapping[str, str]
    """Python and package → version."""
    seconds: float
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

        def on_dev(one: SeedResult) -> float:
            dev = one.judged[self.winner].dev
            return 0.0 if dev is None else dev.weighted_f1

        return max(self.seeds, key=on_dev)

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
        scores = [one for seed in self.seeds if (one := _scores(seed, model, part)) is not None]
        return Spread.of(getattr(one, metric) for one in scores) if scores else None


def _scores(seed: SeedResult, model: str, part: str) -> Scores | None:
    if part == "dev":
        return seed.judged[model].dev
    judged = seed.judged if part == JUDGED else seed.beside.get(part, {})
    return judged[model].test if judged else None
