"""What predictions are worth, always over all ``classes`` of the target in their fixed order.

Truths and predictions are positions in those, shape (n,).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)
from sklearn.metrics import roc_curve as sklearn_roc_curve

from meldflow.models.judging.calibration import reliability
from meldflow.models.judging.records import ClassScore, Comparison, Curve, Judgement, Scores

_DRAWS, _SEED = 2000, 0
"""Of every bootstrap."""
_CURVE_POINTS = 200
"""Points that a ROC curve is drawn with: what the eye sees of it."""


def score(truth: NDArray[np.intp], predicted: NDArray[np.intp], classes: Sequence[str]) -> Scores:
    """Accuracy, precision, recall and F1; a class never predicted counts as 0."""
    means = {}
    for average in ("weighted", "macro"):
        found = precision_recall_fscore_support(
            truth, predicted, labels=range(len(classes)), average=average, zero_division=0
        )
        for what, value in zip(("precision", "recall", "f1"), found, strict=False):
            means[f"{average}_{what}"] = float(value)
    low, high = interval(confusion(truth, predicted, classes))
    return Scores(
        rows=len(truth),
        accuracy=float(np.mean(truth == predicted)),
        weighted_f1_low=low,
        weighted_f1_high=high,
        **means,
    )


def weighted_f1(truth: NDArray[np.intp], predicted: NDArray[np.intp]) -> float:
    """The mean of the classes' F1, weighted by how many rows they truly have."""
    return float(f1_score(truth, predicted, average="weighted", zero_division=0))


def confusion(
    truth: NDArray[np.intp], predicted: NDArray[np.intp], classes: Sequence[str]
) -> NDArray[np.int64]:
    """Counts, shape (k, k): rows are the true classes, columns the predicted ones."""
    matrix = confusion_matrix(truth, predicted, labels=range(len(classes)))
    return np.asarray(matrix, dtype=np.int64)


def interval(matrix: NDArray[np.int64]) -> tuple[float, float]:
    """95 % bootstrap interval of the weighted F1 (percentiles; Efron & Tibshirani 1993).

    Drawing n utterances with replacement is one multinomial draw over the cells of the
    confusion matrix, so 2,000 draws take milliseconds. Utterances are drawn as if
    independent; those of one dialogue are not, so the truth is somewhat wider.
    """
    n = int(matrix.sum())
    draws = np.random.default_rng(_SEED).multinomial(n, matrix.ravel() / n, size=_DRAWS)
    low, high = np.percentile(_weighted_f1(draws.reshape(_DRAWS, *matrix.shape)), (2.5, 97.5))
    return float(low), float(high)


def _weighted_f1(tables: NDArray[np.int64]) -> NDArray[np.float64]:
    """Weighted F1 of each confusion matrix, shape (draws,) of (draws, k, k)."""
    hits = np.diagonal(tables, axis1=1, axis2=2)
    total, called = tables.sum(axis=2), tables.sum(axis=1)
    f1 = 2 * hits / np.maximum(total + called, 1)
    return np.asarray((f1 * total).sum(axis=1) / total.sum(axis=1))


def compare(
    names: tuple[str, str],
    truth: NDArray[np.intp],
    predicted: tuple[NDArray[np.intp], NDArray[np.intp]],
    classes: Sequence[str],
) -> Comparison:
    """Two classifiers on the same rows: a paired bootstrap and McNemar's exact test (1947).

    An utterance is drawn with what both said of it, so that what makes both fail does not
    count as a difference. The remark on independence in ``interval`` holds here too.
    """
    one, other = predicted
    k = len(classes)
    cells = np.bincount((truth * k + one) * k + other, minlength=k**3)
    draws = np.random.default_rng(_SEED).multinomial(len(truth), cells / len(truth), size=_DRAWS)
    tables = draws.reshape(_DRAWS, k, k, k)
    differences = _weighted_f1(tables.sum(axis=3)) - _weighted_f1(tables.sum(axis=2))
    low, high = np.percentile(differences, (2.5, 97.5))
    only_one = int(((one == truth) & (other != truth)).sum())
    only_other = int(((one != truth) & (other == truth)).sum())
    apart = only_one + only_other
    return Comparison(
        one=names[0],
        other=names[1],
        difference=weighted_f1(truth, one) - weighted_f1(truth, other),
        low=float(low),
        high=float(high),
        only_one=only_one,
        only_other=only_other,
        p=float(binomtest(only_one, apart).pvalue) if apart else 1.0,
    )


def by_class(matrix: NDArray[np.int64], classes: Sequence[str]) -> tuple[ClassScore, ...]:
    """One line per class, from a confusion matrix of shape (k, k)."""
    lines = []
    for i, label in enumerate(classes):
        total, called, correct = int(matrix[i].sum()), int(matrix[:, i].sum()), int(matrix[i, i])
        lines.append(
            ClassScore(
                label=label,
                total=total,
                correct=correct,
                wrong=total - correct,
                percent=100 * correct / total if total else None,
                precision=correct / called if called else None,
                f1=2 * correct / (total + called) if total else None,
            )
        )
    return tuple(lines)


def roc(
    truth: NDArray[np.intp], scores: NDArray[np.floating], classes: Sequence[str]
) -> tuple[Curve, ...]:
    """One-versus-rest curves of ``scores``, shape (n, k); no AUC where it is undefined.

    Higher means likelier; a column of NaN has no curve.
    """
    return tuple(_curve(label, truth == i, scores[:, i]) for i, label in enumerate(classes))


def _curve(label: str, positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Curve:
    if positive.all() or not positive.any() or np.isnan(scores).any():
        return Curve(label=label, auc=None)
    false_rate, true_rate, _ = sklearn_roc_curve(positive, scores)
    step = max(1, -(-len(false_rate) // _CURVE_POINTS))
    kept = np.unique(np.append(np.arange(0, len(false_rate), step), len(false_rate) - 1))
    return Curve(
        label=label,
        auc=float(roc_auc_score(positive, scores)),
        false_positive_rate=tuple(np.round(false_rate[kept], 5).tolist()),
        true_positive_rate=tuple(np.round(true_rate[kept], 5).tolist()),
    )


def majority(labels: NDArray[np.intp]) -> int:
    """The commonest of ``labels``; ties go to the first in the order of the classes."""
    return int(np.bincount(labels).argmax())


def only_seen(scores: NDArray[np.floating], seen: NDArray[np.intp]) -> NDArray[np.float64]:
    """``scores`` with NaN in the columns of classes that training never saw, same shape."""
    kept = np.full(scores.shape, np.nan)
    kept[:, seen] = scores[:, seen]
    return kept


def class_of(scores: NDArray[np.floating]) -> NDArray[np.intp]:
    """Position of each row's highest score, shape (n,); NaN never wins."""
    return np.asarray(np.nanargmax(scores, axis=1), dtype=np.intp)


def judge(
    dev: tuple[NDArray[np.intp], NDArray[np.intp]] | None,
    test: tuple[NDArray[np.intp], NDArray[np.intp]],
    classes: Sequence[str],
    scores: NDArray[np.floating] | None = None,
    temperature: float = 1.0,
) -> Judgement:
    """The full judgement of one classifier.

    Args:
        dev: (truth, predicted) on dev; None where the protocol chooses nothing.
        test: (truth, predicted) on test.
        classes: all of the target.
        scores: of the test rows, shape (n_test, k), for curves and probabilities; None gives
            neither.
        temperature: what ``scores`` are divided by before they become probabilities.
    """
    matrix = confusion(*test, classes)
    sure = None if scores is None else reliability(scores, test[0], temperature)
    return Judgement(
        dev=None if dev is None else score(*dev, classes),
        test=score(*test, classes),
        per_class=by_class(matrix, classes),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        roc=() if scores is None else roc(test[0], scores, classes),
        reliability=None if sure is None else sure[0],
        predicted=tuple(classes[i] for i in test[1].tolist()),
        probability=() if sure is None else tuple(np.round(sure[1], 6).tolist()),
    )
