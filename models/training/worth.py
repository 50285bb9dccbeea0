"""What a fit is worth: the SVM behind a network or without one, and the judgement of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from meldflow.models.judging.protocols import Division, Ledger
from meldflow.models.judging.records import Judgement
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.common import Layer
from meldflow.models.running.hardware import Hardware, describe_hardware
from meldflow.models.training.networks import Config
from meldflow.models.training.result import Attention, SeedResult

if TYPE_CHECKING:
    from meldflow.models.judging.svm import Svm
    from meldflow.models.networks.common import Fitted

Scores: TypeAlias = Callable[[NDArray[np.intp]], NDArray[np.floating]]
"""What a classifier says of rows: shape (len(rows), k); a class never seen cannot win."""


@dataclass(slots=True, kw_only=True)
class Prepared:
    """A table as a network sees it."""

    table: FeatureTable
    """Without its features."""
    division: Division
    ledger: Ledger
    """What was fitted so far."""
    inputs: Any
    """The ``Inputs`` of the network's folder: what it sees of every row, and its ``scalers``. None
    once the network is fitted: what comes after it needs the memory."""
    seconds: float
    """How long it took."""

    def judge(
        self, name: str, scores: Scores, temperature: float, part: NDArray[np.intp] | None = None
    ) -> Judgement:
        """The judgement of a classifier by its scores, on dev and on ``part``.

        By default that are the rows that the protocol judges on. What scores are divided by before
        they become probabilities is the temperature.
        """
        from meldflow.models.judging.metrics import class_of, judge, only_seen

        division = self.division
        rows = self.ledger.enter("judge", name, division.judge if part is None else part)
        labels, dev, seen = (
            division.labels,
            division.choose,
            np.unique(division.labels[division.fit]),
        )
        known = only_seen(scores(rows), seen)
        return judge(
            dev=(labels[dev], class_of(only_seen(scores(dev), seen))) if len(dev) else None,
            test=(labels[rows], class_of(known)),
            classes=division.classes,
            scores=known,
            temperature=temperature,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What was fitted with one seed, judged, and the model; nothing of single rows' features."""

    result: SeedResult
    table: FeatureTable
    """What it was fitted on, without its features."""
    arrays: Mapping[str, Mapping[str, NDArray[Any]]]
    """File stem (``network``, ``scalers``, ``svm``) → array name → values."""
    described: Mapping[str, Any]
    """What a saved model needs beside its arrays and the record, JSON values."""
    layers: tuple[Layer, ...]
    hardware: Hardware
    ledger: Ledger


def judge_svm(prepared: Prepared, config: Config, step: Callable[[], None]) -> Judgement:
    """The SVM on the frozen features themselves, judged."""
    from meldflow.models.judging.svm import fit_svm

    flat, prepared.inputs = prepared.inputs.flat(), None
    svm = fit_svm(flat, prepared.division, config.grid, prepared.ledger, "features", step)
    return prepared.judge("svm", lambda rows: svm.scores(flat[rows]), svm.temperature)


def judge_whole(
    prepared: Prepared,
    network: Fitted,
    seconds: float,
    scalers: Mapping[str, Any],
    config: Config,
    step: Callable[[], None],
) -> Fit:
    """The SVM behind a network that was fitted in so many seconds, and both of them judged."""
    from meldflow.models.judging.svm import fit_svm
    from meldflow.models.networks.scaling import arrays_of

    division, ledger, table = prepared.division, prepared.ledger, prepared.table
    began = time.perf_counter()
    svm = fit_svm(network.said.fused, division, config.grid, ledger, on_machine=step)
    fitted = time.perf_counter()
    judged, beside = _judge(network, svm, prepared)
    durations = {
        "inputs": prepared.seconds,
        "network": seconds,
        "svm": round(fitted - began, 3),
        "judging": round(time.perf_counter() - fitted, 3),
    }
    result = SeedResult(
        seed=config.seed,
        judged=judged,
        beside=beside,
        history=network.history,
        best_epoch=network.best_epoch,
        svm_chosen=svm.chosen,
        svm_grid=svm.grid,
        attention=_attention(network, division),
        durations=durations,
    )
    return Fit(
        result=result,
        table=table,
        arrays={"network": network.state, "scalers": arrays_of(scalers), "svm": svm.arrays()},
        described={
            **network.described,
            "arrays": {name: list(paths) for name, paths in table.arrays.items()},
            "columns": {path: list(names) for path, names in table.columns.items()},
            "extractors": {name: dict(one) for name, one in table.parameters.items()},
            "temperature": network.temperature,
            "svm": {
                "c": svm.chosen.c,
                "gamma": svm.chosen.gamma,
                "temperature": svm.temperature,
            },
        },
        layers=network.layers,
        hardware=describe_hardware(network.threads),
        ledger=ledger,
    )


def _judge(
    network: Fitted, svm: Svm, prepared: Prepared
) -> tuple[dict[str, Judgement], dict[str, dict[str, Judgement]]]:
    """Each classifier's judgement on the protocol's rows, once, and on those beside."""
    from meldflow.models.judging.metrics import judge, majority

    division, ledger = prepared.division, prepared.ledger
    labels, dev = division.labels, division.choose
    common = majority(labels[ledger.enter("fit", "majority", division.fit)])

    def on(part: NDArray[np.intp]) -> dict[str, Judgement]:
        by_scores: dict[str, tuple[Scores, float]] = {
            "network": (network.said.logits.__getitem__, network.temperature),
            "svm": (lambda rows: svm.scores(network.said.fused[rows]), svm.temperature),
        }
        found = {name: prepared.judge(name, *one, part) for name, one in by_scores.items()}
        rows = ledger.enter("judge", "majority", part)
        found["majority"] = judge(
            dev=(labels[dev], np.full_like(dev, common)) if len(dev) else None,
            test=(labels[rows], np.full_like(rows, common)),
            classes=division.classes,
        )
        return found

    return on(division.judge), {part: on(rows) for part, rows in division.beside.items()}


def _attention(network: Fitted, division: Division) -> Attention:
    """What the network looked at, on the mean, in the judged rows of each class."""
    rows, labels = division.judge, division.labels
    by_class = {
        label: tuple(network.said.attention[own].mean(axis=0, dtype=np.float64).round(4).tolist())
        for i, label in enumerate(division.classes)
        if len(own := rows[labels[rows] == i])
    }
    return Attention(modalities=network.attended, by_class=by_class)
