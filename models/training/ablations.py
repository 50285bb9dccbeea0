"""The same procedure with less to go on: modalities alone and in pairs, and no network."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from meldflow.models.judging.records import Judgement
from meldflow.models.judging.table import FeatureTable
from meldflow.models.training.fit import Unit
from meldflow.models.training.result import Ablation, Spread

METRICS = ("accuracy", "weighted_f1", "macro_f1")


def smaller(table: FeatureTable, seeds: Sequence[int]) -> Iterator[Unit]:
    """Every smaller choice of the modalities that the store has, then the SVM without a network.

    Each choice is fitted with every one of ``seeds``.
    """
    names = [name for name in table.arrays if table.present_modality(name).any()]
    for size in range(1, len(names)):
        for some in combinations(names, size):
            yield from (Unit(modalities=some, seed=seed, kind="network") for seed in seeds)
    yield Unit(modalities=tuple(table.arrays), seed=seeds[0], kind="svm")


def ablated(judged: Mapping[Unit, Judgement]) -> Iterator[tuple[Ablation, Judgement]]:
    """The record of each choice over its seeds, and how its best seed on dev was judged."""
    choices: dict[str, list[Unit]] = {}
    for unit in judged:
        choices.setdefault(unit.name.partition(", seed ")[0], []).append(unit)
    for name, units in choices.items():
        each = [judged[unit] for unit in units]
        record = Ablation(
            name=name,
            modalities=units[0].modalities,
            seeds=len(each),
            dev=_spreads([one.dev for one in each if one.dev is not None]),
            test=_spreads([one.test for one in each]),
        )
        yield record, max(each, key=lambda one: 0.0 if one.dev is None else one.dev.weighted_f1)


def _spreads(scores: Sequence[object]) -> Mapping[str, Spread]:
    if not scores:
        return {}
    return {metric: Spread.of(getattr(one, metric) for one in scores) for metric in METRICS}
