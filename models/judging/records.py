"""What comes out of a training run: plain records, free of torch and scikit-learn."""

from dataclasses import dataclass

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
