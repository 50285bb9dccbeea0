"""What predictions are worth, always over MELD's seven emotions in their fixed order."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support, roc_auc_score
from sklearn.metrics import roc_curve as sklearn_roc_curve

from models.judging.records import Curve, EmotionScore, Judgement, Scores
from models.schema import EMOTIONS

_LABELS = list(range(len(EMOTIONS)))
_DRAWS = 2000


def score(truth: NDArray[np.intp], predicted: NDArray[np.intp], seed: int = 0) -> Scores:
    """Accuracy, precision, recall and F1; an emotion never predicted counts as 0.

    Args:
        truth: positions in ``EMOTIONS``, shape (n,).
        predicted: likewise.
        seed: of the bootstrap.
    """
    weighted, macro = (
        precision_recall_fscore_support(
            truth, predicted, labels=_LABELS, average=average, zero_division=0
        )
        for average in ("weighted", "macro")
    )
    low, high = interval(confusion(truth, predicted), seed)
    return Scores(
        rows=len(truth),
        accuracy=float(np.mean(truth == predicted)),
        weighted_precision=float(weighted[0]),
        weighted_recall=float(weighted[1]),
        weighted_f1=float(weighted[2]),
        macro_precision=float(macro[0]),
        macro_recall=float(macro[1]),
        macro_f1=float(macro[2]),
        weighted_f1_low=low,
        weighted_f1_high=high,
    )


def confusion(truth: NDArray[np.intp], predicted: NDArray[np.intp]) -> NDArray[np.int64]:
    """Counts, shape (7, 7): rows are the true emotions, columns the predicted ones."""
    return np.asarray(confusion_matrix(truth, predicted, labels=_LABELS), dtype=np.int64)


def interval(matrix: NDArray[np.int64], seed: int = 0) -> tuple[float, float]:
    """95 % bootstrap interval of the weighted F1 (percentiles; Efron & Tibshirani 1993).

    Drawing n utterances with replacement is one multinomial draw over the cells of the
    confusion matrix, so 2,000 draws take milliseconds. Utterances are drawn as if
    independent; those of one dialogue are not, so the truth is somewhat wider.
    """
    n = int(matrix.sum())
    draws = np.random.default_rng(seed).multinomial(n, matrix.ravel() / n, size=_DRAWS)
    tables = draws.reshape(_DRAWS, *matrix.shape)
    hits = np.diagonal(tables, axis1=1, axis2=2)
    total, called = tables.sum(axis=2), tables.sum(axis=1)
    f1 = 2 * hits / np.maximum(total + called, 1)
    low, high = np.percentile((f1 * total).sum(axis=1) / n, (2.5, 97.5))
    return float(low), float(high)


def by_emotion(matrix: NDArray[np.int64]) -> tuple[EmotionScore, ...]:
    """One line per emotion, from a confusion matrix of shape (7, 7)."""
    lines = []
    for i, emotion in enumerate(EMOTIONS):
        total, called, correct = int(matrix[i].sum()), int(matrix[:, i].sum()), int(matrix[i, i])
        lines.append(
            EmotionScore(
                emotion=emotion,
                total=total,
                correct=correct,
                wrong=total - correct,
                percent=100 * correct / total if total else None,
                precision=correct / called if called else None,
                f1=2 * correct / (total + called) if total else None,
            )
        )
    return tuple(lines)


def roc(truth: NDArray[np.intp], scores: NDArray[np.floating]) -> tuple[Curve, ...]:
    """One-versus-rest curves; no AUC where it is undefined.

    Args:
        truth: positions in ``EMOTIONS``, shape (n,).
        scores: higher means likelier, shape (n, 7); a column of NaN has no curve.
    """
    return tuple(_curve(emotion, truth == i, scores[:, i]) for i, emotion in enumerate(EMOTIONS))


def _curve(emotion: str, positive: NDArray[np.bool_], scores: NDArray[np.floating]) -> Curve:
    if positive.all() or not positive.any() or np.isnan(scores).any():
        return Curve(emotion=emotion, auc=None)
    false_rate, true_rate, _ = sklearn_roc_curve(positive, scores)
    return Curve(
        emotion=emotion,
        auc=float(roc_auc_score(positive, scores)),
        false_positive_rate=tuple(np.round(false_rate, 5).tolist()),
        true_positive_rate=tuple(np.round(true_rate, 5).tolist()),
    )


def majority(labels: NDArray[np.intp]) -> int:
    """The commonest of ``labels``; ties go to the first in the order of ``EMOTIONS``."""
    return int(np.bincount(labels, minlength=len(EMOTIONS)).argmax())


def only_seen(scores: NDArray[np.floating], seen: NDArray[np.intp]) -> NDArray[np.float64]:
    """``scores`` with NaN in the columns of emotions that training never saw, same shape."""
    kept = np.full(scores.shape, np.nan)
    kept[:, seen] = scores[:, seen]
    return kept


def judge(
    dev: tuple[NDArray[np.intp], NDArray[np.intp]],
    test: tuple[NDArray[np.intp], NDArray[np.intp]],
    scores: NDArray[np.floating] | None = None,
) -> Judgement:
    """The full judgement of one classifier.

    Args:
        dev: (truth, predicted) on dev.
        test: (truth, predicted) on test.
        scores: of the test rows, shape (n_test, 7), for the ROC; None gives no curves.
    """
    matrix = confusion(*test)
    return Judgement(
        dev=score(*dev),
        test=score(*test),
        per_emotion=by_emotion(matrix),
        confusion=tuple(tuple(row) for row in matrix.tolist()),
        roc=() if scores is None else roc(test[0], scores),
        predicted=tuple(EMOTIONS[i] for i in test[1].tolist()),
    )
