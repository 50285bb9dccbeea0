"""The same procedure with less to go on: modalities alone and in pairs, and no network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from meldflow.models.judging.protocols import Ledger
from meldflow.models.judging.records import Judgement
from meldflow.models.training.fit import Prepared, Watch, fit_network, judge_scores, prepare
from meldflow.models.training.networks import Config
from meldflow.models.training.result import Ablation, Spread

METRICS = ("accuracy", "weighted_f1", "macro_f1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablated:
    """An ablation, and what its best seed on dev said of the judged rows."""

    record: Ablation
    predicted: NDArray[np.intp]


def ablate(
    prepared: Prepared, config: Config, seeds: Sequence[int], watch: Watch
) -> Iterator[Ablated]:
    """Every smaller choice of modalities by the network's own head, then the SVM without it.

    Args:
        prepared: the whole, of which parts are taken.
        config: the settings; each choice of modalities is fitted with every one of ``seeds``.
        seeds: those of the whole.
        watch: shows how far it has come.
    """
    names = tuple(prepared.table.arrays)
    for size in range(1, len(names)):
        for some in combinations(names, size):
            yield _with(some, prepared, config, seeds, watch)
    yield _without_network(prepared, config, watch)


def _with(
    modalities: tuple[str, ...],
    whole: Prepared,
    config: Config,
    seeds: Sequence[int],
    watch: Watch,
) -> Ablated:
    """The network on a choice of modalities."""
    table, rules = whole.table.only(modalities), whole.ledger.protocol
    prepared = prepare(table, whole.division, config, rules)
    name, judged = "+".join(modalities), list[Judgement]()
    for seed in seeds:
        ledger = prepared.ledger.copy()
        network = fit_network(prepared, replace(config, seed=seed), ledger, name=name, watch=watch)
        judged.append(_judged("network", network.logits, network.temperature, whole, ledger))
    return _ablated(name, modalities, judged, whole)


def _without_network(whole: Prepared, config: Config, watch: Watch) -> Ablated:
    """The SVM on the frozen features themselves; it has no seed."""
    from meldflow.models.judging.svm import fit_svm

    modalities = tuple(whole.table.arrays)
    ledger, flat = whole.ledger.copy(), whole.inputs.flat()
    machines = len(config.svm_c) * len(config.svm_gamma)
    with watch("fitting the SVM without a network", machines, "machines") as advance:
        svm = fit_svm(
            flat, whole.division, config, ledger, "features", on_machine=lambda: advance(1)
        )
    division = whole.division
    scores = np.full((len(flat), len(division.classes)), np.nan)
    for rows in (division.choose, division.judge):
        if len(rows):
            scores[rows] = svm.scores(flat[rows])
    judged = _judged("svm", scores, svm.temperature, whole, ledger)
    return _ablated(f"SVM alone: {'+'.join(modalities)}", modalities, [judged], whole)


def _judged(
    name: str,
    scores: NDArray[np.floating],
    temperature: float,
    whole: Prepared,
    ledger: Ledger,
) -> Judgement:
    """The judgement of scores of every row, shape (n, k), where they are asked for."""
    division = whole.division
    return judge_scores(scores.__getitem__, division.judge, division, ledger, name, temperature)


def _ablated(
    name: str, modalities: tuple[str, ...], judged: Sequence[Judgement], whole: Prepared
) -> Ablated:
    on_dev = [0.0 if one.dev is None else one.dev.weighted_f1 for one in judged]
    classes = whole.division.classes
    best = judged[int(np.argmax(on_dev))]
    return Ablated(
        record=Ablation(
            name=name,
            modalities=modalities,
            seeds=len(judged),
            dev=_spreads([one.dev for one in judged if one.dev is not None]),
            test=_spreads([one.test for one in judged]),
        ),
        predicted=np.array([classes.index(label) for label in best.predicted], dtype=np.intp),
    )


def _spreads(scores: Sequence[object]) -> Mapping[str, Spread]:
    if not scores:
        return {}
    return {metric: Spread.of(getattr(one, metric) for one in scores) for metric in METRICS}
