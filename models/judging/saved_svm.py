"""A support vector machine from what was saved of it: LIBSVM's margins, in numpy."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import rbf_kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSvm:
    """What ``Svm.arrays`` kept, and the settings beside it."""

    arrays: Mapping[str, NDArray[Any]]
    gamma: float
    temperature: float
    """What the scores are divided by before they become probabilities."""
    classes: int
    """How many the target has, those that were never seen included."""

    def scores(self, fused: NDArray[np.float32]) -> NDArray[np.float64]:
        """Summed margins of each class against the others, shape (n, k); see ``margins``."""
        svm = self.arrays
        vectors = (fused - svm["scaler_mean"]) / svm["scaler_scale"]
        kernel = rbf_kernel(vectors, svm["support_vectors"], gamma=self.gamma)
        ends = np.cumsum(svm["n_support"])
        own = [slice(end - n, end) for end, n in zip(ends, svm["n_support"], strict=True)]
        decisions = [
            kernel[:, own[a]] @ svm["dual_coef"][b - 1, own[a]]
            + kernel[:, own[b]] @ svm["dual_coef"][a, own[b]]
            + svm["intercept"][machine]
            for machine, (a, b) in enumerate(combinations(range(len(own)), 2))
        ]
        sign = -1 if len(own) == 2 else 1  # for a single machine it is the other way round
        return margins(sign * np.stack(decisions, axis=1), svm["classes"], self.classes)


def margins(
    decisions: NDArray[np.floating[Any]], seen: NDArray[np.intp], classes: int
) -> NDArray[np.float64]:
    """What the one-against-one machines say for each class, summed.

    Their votes, by which LIBSVM decides, are whole numbers: nearly every utterance is won with
    all of them, and so nothing tells a close call from a clear one. The sums do, and on MELD they
    are right more often (``docs/text-result.md``).

    Args:
        decisions: of the machines (0, 1), (0, 2), …, positive for the first of the two classes,
            shape (n, pairs).
        seen: the classes that there are machines for, positions in the target's.
        classes: how many the target has.

    Returns:
        shape (n, classes), NaN for a class never seen.
    """
    found = np.full((len(decisions), classes), np.nan)
    found[:, seen] = 0.0
    for machine, (a, b) in enumerate(combinations(seen.tolist(), 2)):
        found[:, a] += decisions[:, machine]
        found[:, b] -= decisions[:, machine]
    return found
