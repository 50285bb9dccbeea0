"""The same procedure with less to go on: modalities alone and in pairs, and no network."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations

import numpy as np

from meldflow.models.judging.records import Judgement
from meldflow.models.training.fit import Prepared, Watch, fit_network, judge_scores, prepare
from meldflow.models.training.networks import Config
from meldflow.models.training.result import Ablation, Spread

METRICS = ("accuracy", "weighted_f1", "macro_f1")


def ablate(
    prepared: Prepared, config: Config, seeds: Sequence[int], watch: Watch
) -> Iterator[tuple[Ablation, Judgement]]:
    """Every smaller choice of modalities by the network's own head, then the SVM without it.

    Gives the record of each, and how its best seed on dev was judged.

    Args:
        prepared: the whole, of which parts are taken.
        config: the settings; each choice of modalities is fitted with every one of ``seeds``.
        seeds: those of the whole.
        watch: shows how far it has come.
    """
    features = prepared.table.features
    names = [  # of the modalities that the store has
        name
        for name, paths in prepared.table.arrays.items()
        if any(np.isfinite(features[path]).any() for path in paths if path in features)
    ]
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
) -> tuple[Ablation, Judgement]:
    """The network on a choice of modalities."""
    division = whole.division
    prepared = prepare(whole.table.only(modalities), division, config, whole.ledger.protocol)
    name, judged = "+".join(modalities), list[Judgement]()
    for seed in seeds:
        ledger = prepared.ledger.copy()
        network = fit_network(prepared, replace(config, seed=seed), ledger, name=name, watch=watch)
        scores, warmth = network.logits.__getitem__, network.temperature
        judged.append(judge_scores(scores, division.judge, division, ledger, "network", warmth))
    return _ablated(name, modalities, judged)


def _without_network(whole: Prepared, config: Config, watch: Watch) -> tuple[Ablation, Judgement]:
    """The SVM on the frozen features themselves; it has no seed."""
    from meldflow.models.judging.svm import fit_svm

    modalities, division = tuple(whole.table.arrays), whole.division
    ledger, flat = whole.ledger.copy(), whole.inputs.flat()
    machines = len(config.svm_c) * len(config.svm_gamma)
    with watch("fitting the SVM without a network", machines, "machines") as advance:
        svm = fit_svm(flat, division, config, ledger, "features", on_machine=lambda: advance(1))
    scores, warmth = (lambda rows: svm.scores(flat[rows])), svm.temperature
    judged = judge_scores(scores, division.judge, division, ledger, "svm", warmth)
    return _ablated(f"SVM alone: {'+'.join(modalities)}", modalities, [judged])


def _ablated(
    name: str, modalities: tuple[str, ...], judged: Sequence[Judgement]
) -> tuple[Ablation, Judgement]:
    record = Ablation(
        name=name,
        modalities=modalities,
        seeds=len(judged),
        dev=_spreads([one.dev for one in judged if one.dev is not None]),
        test=_spreads([one.test for one in judged]),
    )
    return record, max(judged, key=lambda one: 0.0 if one.dev is None else one.dev.weighted_f1)


def _spreads(scores: Sequence[object]) -> Mapping[str, Spread]:
    if not scores:
        return {}
    return {metric: Spread.of(getattr(one, metric) for one in scores) for metric in METRICS}
