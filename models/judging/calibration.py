"""From scores to probabilities that are as sure as they are right.

Source: Guo et al. 2017, On Calibration of Modern Neural Networks: one temperature, chosen on
rows that the classifier was not fitted on. It changes no prediction.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from meldflow.models.judging.records import BINS, Bin, Reliability

_WIDEST = 4.0
"""Temperatures from exp(-4) to exp(4) are looked at."""


def log_probabilities(scores: NDArray[np.floating], temperature: float) -> NDArray[np.float64]:
    """Log softmax of the scores over their temperature, shape unchanged; NaN becomes -inf."""
    known = np.where(np.isnan(scores), -np.inf, scores.astype(np.float64))
    return np.asarray(log_softmax(known / temperature, axis=1))


def temperature(scores: NDArray[np.floating], labels: NDArray[np.intp]) -> float:
    """What to divide ``scores`` by so that the labels' log loss is least.

    Args:
        scores: higher means likelier, shape (n, k); NaN for classes that were never seen.
        labels: the true classes, shape (n,); rows of a class never seen tell nothing.

    Returns:
        The temperature; 1 where no row tells anything.
    """
    own = scores[np.arange(len(labels)), labels]
    told = np.isfinite(own)
    if not told.any():
        return 1.0
    scores, labels = scores[told], labels[told]

    def loss(logarithm: float) -> float:
        known = log_probabilities(scores, float(np.exp(logarithm)))
        return -float(known[np.arange(len(labels)), labels].mean())

    found = minimize_scalar(loss, bounds=(-_WIDEST, _WIDEST), method="bounded")
    return float(np.exp(found.x))


def reliability(
    scores: NDArray[np.floating], truth: NDArray[np.intp], temperature: float
) -> tuple[Reliability, NDArray[np.float64]]:
    """How sure a classifier is against how often it is right, and what it thought of the truth.

    Of ``scores`` of shape (n, k), over their temperature, and classes of shape (n,): the
    reliability, and the probability of each row's true class, shape (n,).
    """
    likely = np.exp(log_probabilities(scores, temperature))
    sure, right = likely.max(axis=1), likely.argmax(axis=1) == truth
    place = np.minimum((sure * BINS).astype(int), BINS - 1)
    bins = tuple(
        Bin(
            rows=int(own.sum()),
            confidence=float(sure[own].mean()),
            accuracy=float(right[own].mean()),
        )
        for i in range(BINS)
        if (own := place == i).any()
    )
    gap = sum(one.rows * abs(one.confidence - one.accuracy) for one in bins) / len(truth)
    found = Reliability(temperature=temperature, error=float(gap), bins=bins)
    return found, likely[np.arange(len(truth)), truth]
