"""A support vector machine from what was saved of it: LIBSVM's decision, in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Self

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

    @classmethod
    def of(
        cls, arrays: Mapping[str, NDArray[Any]], described: Mapping[str, Any], classes: int
    ) -> Self:
        """From the arrays and the JSON beside them.

        Raises:
            KeyError: something is not there.
        """
        return cls(
            arrays=arrays,
            gamma=described["gamma"],
            temperature=described["temperature"],
            classes=classes,
        )

    def scores(self, fused: NDArray[np.float32]) -> NDArray[np.float64]:
        """One-versus-rest decision scores, shape (n, k); NaN for a class never seen.

        One machine per pair of classes votes; what they are sure of, below one third, parts
        equals (``decision_function`` of scikit-learn's SVC).
        """
        svm = self.arrays
        vectors = (fused - svm["scaler_mean"]) / svm["scaler_scale"]
        kernel = rbf_kernel(vectors, svm["support_vectors"], gamma=self.gamma)
        ends = np.cumsum(svm["n_support"])
        own = [slice(end - n, end) for end, n in zip(ends, svm["n_support"], strict=True)]
        seen = svm["classes"]
        found = np.full((len(fused), self.classes), np.nan)
        if len(seen) == 2:  # the sign is the other way round for a single machine
            decision = kernel @ svm["dual_coef"][0] + svm["intercept"][0]
            found[:, seen] = np.stack([-decision, decision], axis=1)
            return found
        votes = np.zeros((2, len(fused), len(seen)))
        for machine, (a, b) in enumerate(combinations(range(len(seen)), 2)):
            decision = kernel[:, own[a]] @ svm["dual_coef"][b - 1, own[a]]
            decision += kernel[:, own[b]] @ svm["dual_coef"][a, own[b]] + svm["intercept"][machine]
            votes[:, :, a] += (decision > 0), decision
            votes[:, :, b] += (decision <= 0), -decision
        found[:, seen] = votes[0] + votes[1] / (3 * (np.abs(votes[1]) + 1))
        return found
