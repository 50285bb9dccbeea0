"""What a fit is worth: the SVM behind a network or without one, and the judgement of both."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
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

Watch: TypeAlias = Callable[[str, int, str], AbstractContextManager[Callable[[int], None]]]
"""What is done, how much of it, in which unit → what is told each amount done."""


def unwatched(what: str, total: int, unit: str) -> AbstractContextManager[Callable[[int], None]]:
    """A ``Watch`` that shows nothing."""
    del what, total, unit
    return nullcontext(lambda _: None)


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


def judge_svm(prepared: Prepared, config: Config, watch: Watch) -> Judgement:
    """The SVM on the frozen features themselves, judged."""
    from meldflow.models.judging.svm import fit_svm

    division, ledger, flat = prepared.division, prepared.ledger, prepared.inputs.flat()
    prepared.inputs = None
    machines = len(config.svm_c) * len(config.svm_gamma)
    with watch("fitting the SVM without a network", machines, "machines") as advance:
        svm = fit_svm(flat, division, config, ledger, "features", on_machine=lambda: advance(1))
    scores, warmth = (lambda rows: svm.scores(flat[rows])), svm.temperature
    return judge_scores(scores, division.judge, division, ledger, "svm", warmth)


def judge_whole(
    prepared: Prepared,
    network: Fitted,
    seconds: float,
    scalers: Mapping[str, Any],
    config: Config,
    watch: Watch,
) -> Fit:
    """The SVM behind a network that was fitted in so many seconds, and both of them judged."""
    from meldflow.models.judging.svm import fit_svm
    from meldflow.models.networks.scaling import arrays_of

    durations = {"inputs": prepared.seconds, "network": seconds}
    clock = time.perf_counter()

    def timed(stage: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        durations[stage] = round(now - clock, 3)
        clock = now

    division, ledger = prepared.division, prepared.ledger
    machines = len(config.svm_c) * len(config.svm_gamma)
    with watch(f"fitting the SVM, seed {config.seed}", machines, "machines") as advance:
        svm = fit_svm(network.fused, division, config, ledger, on_machine=lambda: advance(1))
    timed("svm")
    judged, beside = _judge(network, svm, division, ledger)
    timed("judging")
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
    table = prepared.table
    return Fit(
        result=result,
        table=table,
        arrays={"network": network.state, "scalers": arrays_of(scalers), "svm": svm.arrays()},
        described={
            **network.described,
            "arrays": {name: list(paths) for name, paths in table.arrays.items()},
            "columns": {path: list(names) for path, names in table.columns.items()},
            "extractors": {name: dict(one) for name, one in table.parameters.items()},
            "checkpoints": dict(table.checkpoints),
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
    network: Fitted, svm: Svm, division: Division, ledger: Ledger
) -> tuple[dict[str, Judgement], dict[str, dict[str, Judgement]]]:
    """Each classifier's judgement on the protocol's rows, once, and on those beside."""
    from meldflow.models.judging.metrics import judge, majority

    labels, classes = division.labels, division.classes
    common = majority(labels[ledger.fit("majority", division.fit)])
    scores: dict[str, tuple[Callable[[NDArray[np.intp]], NDArray[np.floating]], float]] = {
        "network": (lambda rows: network.logits[rows], network.temperature),
        "svm": (lambda rows: svm.scores(network.fused[rows]), svm.temperature),
    }

    def on(part: NDArray[np.intp]) -> dict[str, Judgement]:
        found = {
            name: judge_scores(of, part, division, ledger, name, temperature)
            for name, (of, temperature) in scores.items()
        }
        rows, dev = ledger.judge("majority", part), division.choose
        found["majority"] = judge(
            dev=(labels[dev], np.full_like(dev, common)) if len(dev) else None,
            test=(labels[rows], np.full_like(rows, common)),
            classes=classes,
        )
        return found

    return on(division.judge), {part: on(rows) for part, rows in division.beside.items()}


def judge_scores(
    scores: Callable[[NDArray[np.intp]], NDArray[np.floating]],
    part: NDArray[np.intp],
    division: Division,
    ledger: Ledger,
    name: str,
    temperature: float,
) -> Judgement:
    """The judgement of a classifier by its scores, on ``part`` and on dev.

    Args:
        scores: rows → scores of shape (len(rows), k); a class never seen cannot win.
        part: the rows to judge on.
        division: all rows by purpose.
        ledger: gets the use of ``part``.
        name: what the classifier is called there.
        temperature: what the scores are divided by before they become probabilities.
    """
    from meldflow.models.judging.metrics import class_of, judge, only_seen

    labels, dev, rows = division.labels, division.choose, ledger.judge(name, part)
    seen = np.unique(labels[division.fit])
    known = only_seen(scores(rows), seen)
    return judge(
        dev=(labels[dev], class_of(only_seen(scores(dev), seen))) if len(dev) else None,
        test=(labels[rows], class_of(known)),
        classes=division.classes,
        scores=known,
        temperature=temperature,
    )


def _attention(network: Fitted, division: Division) -> Attention:
    """What the network looked at, on the mean, in the judged rows of each class."""
    rows, labels = division.judge, division.labels
    by_class = {
        label: tuple(network.attention[own].mean(axis=0, dtype=np.float64).round(4).tolist())
        for i, label in enumerate(division.classes)
        if len(own := rows[labels[rows] == i])
    }
    return Attention(modalities=network.attended, by_class=by_class)
