"""An RBF support vector machine on the fused vectors, chosen on dev; and one that was saved.

Sources: Cortes & Vapnik 1995; Chang & Lin 2011 (LIBSVM, one against one).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics.pairwise import euclidean_distances, rbf_kernel
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from meldflow.models.judging.calibration import temperature
from meldflow.models.judging.metrics import class_of, weighted_f1
from meldflow.models.judging.protocols import Division, Ledger
from meldflow.models.judging.records import Candidate

_ROWS = 256
"""Rows of a kernel computed at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Svm:
    """The chosen machine, its scaler, and the grid that it was chosen from."""

    scaler: StandardScaler
    machine: SVC
    train: NDArray[np.float32]
    """The scaled vectors that it was fitted on, shape (n_fit, width)."""
    chosen: Candidate
    grid: tuple[Candidate, ...]
    classes: int
    """How many the target has, those that were never seen included."""
    temperature: float
    """What the scores are divided by before they become probabilities."""

    def scores(self, fused: NDArray[np.float32]) -> NDArray[np.float64]:
        """Summed margins of each class against the others, shape (n, k); see ``margins``."""
        squares = euclidean_distances(self.scaler.transform(fused), self.train, squared=True)
        return _scores(self.machine, np.exp(-self.chosen.gamma * squares), self.classes)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """What a prediction needs, by LIBSVM's names; C and gamma are in ``chosen``."""
        return {
            "scaler_mean": self.scaler.mean_,
            "scaler_scale": self.scaler.scale_,
            "support_vectors": self.train[self.machine.support_],
            "n_support": self.machine.n_support_,
            "dual_coef": self.machine.dual_coef_,
            "intercept": self.machine.intercept_,
            "classes": self.machine.classes_,
        }


def fit_svm(
    fused: NDArray[np.float32],
    division: Division,
    grid: tuple[Sequence[float], Sequence[float]],
    ledger: Ledger,
    name: str = "fused",
    on_machine: Callable[[], None] = lambda: None,
) -> Svm:
    """The machine of the grid with the best weighted F1 on dev.

    Every candidate is fitted on the fit rows alone, and so is the chosen one: dev picks
    it and is not added afterwards. Ties go to the earlier candidate (smaller gamma, then
    smaller C). Distances are computed once for the whole grid: on MELD's 9,989 training
    rows a candidate then takes 8 s of one core instead of 51 s, for about 2 GB of memory.

    Its probabilities come from one temperature on dev. Folds of the training rows would be of
    no use: the network has learned their labels, so its vectors of them are far surer than
    those of new rows (``docs/text-result.md`` has the figures).

    Args:
        fused: the network's vectors of every row, shape (n, width).
        division: rows by purpose, and labels.
        grid: candidates for C, and for gamma as multiples of 1 / width; where the protocol chooses
            nothing, one of each.
        ledger: gets an entry for the scaler, the machine and what is chosen.
        name: what the vectors are called there.
        on_machine: called after each candidate.

    Raises:
        LeakError: ``division`` and ``ledger`` disagree.
    """
    fit_rows = ledger.enter("fit_svm", f"StandardScaler({name})", division.fit_svm)
    ledger.enter("fit_svm", f"SVC(rbf, {name})", division.fit_svm)
    scaler = StandardScaler().fit(fused[fit_rows])
    train = scaler.transform(fused[fit_rows])
    near = euclidean_distances(train, squared=True)
    labels, classes = division.labels, len(division.classes)
    far = None
    if len(division.choose):
        rows = ledger.enter(
            "choose", f"SVC(rbf, {name}): C, gamma and temperature", division.choose
        )
        far = euclidean_distances(scaler.transform(fused[rows]), train, squared=True)
    truth = labels[division.choose]
    tried: list[tuple[Candidate, SVC, NDArray[np.float64] | None]] = []
    for c, gamma, machine in _machines(near, labels[fit_rows], grid, fused.shape[1]):
        scores = None if far is None else _scores(machine, np.exp(-gamma * far), classes)
        f1 = None if scores is None else weighted_f1(truth, class_of(scores))
        tried.append((Candidate(c=c, gamma=gamma, dev_weighted_f1=f1), machine, scores))
        on_machine()
    chosen, machine, scores = max(tried, key=lambda one: one[0].dev_weighted_f1 or 0.0)
    return Svm(
        scaler=scaler,
        machine=machine,
        train=train,
        chosen=chosen,
        grid=tuple(candidate for candidate, *_ in tried),
        classes=classes,
        temperature=1.0 if scores is None else temperature(scores, truth),
    )


def _machines(
    near: NDArray[np.floating[Any]],
    labels: NDArray[np.intp],
    grid: tuple[Sequence[float], Sequence[float]],
    width: int,
) -> Iterator[tuple[float, float, SVC]]:
    """C, gamma and the fitted machine of each candidate, from squared distances of rows."""
    for multiple in sorted(grid[1]):
        gamma = multiple / width
        kernel = np.empty(near.shape)  # as LIBSVM takes it: it would make a copy of another one
        for start in range(0, len(near), _ROWS):
            kernel[start : start + _ROWS] = np.exp(-gamma * near[start : start + _ROWS])
        for c in sorted(grid[0]):
            machine = SVC(
                C=c,
                kernel="precomputed",
                class_weight="balanced",
                decision_function_shape="ovo",
                cache_size=500,
            )
            yield c, gamma, machine.fit(kernel, labels)


def _scores(machine: SVC, kernel: NDArray[np.floating[Any]], classes: int) -> NDArray[np.float64]:
    decision = machine.decision_function(kernel)
    if decision.ndim == 1:  # two classes: the sign is the other way round
        decision = -decision[:, None]
    return margins(decision, machine.classes_, classes)


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSvm:
    """A machine from what ``Svm.arrays`` kept, and the settings beside it, in NumPy."""

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
