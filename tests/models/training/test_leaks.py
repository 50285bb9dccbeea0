"""Rows that are not to be used are changed, features and labels, and nothing fitted moves by a bit.

The ledger records what goes through it; these tests look at what comes out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.models.judging import svm
from meldflow.models.judging.protocols import divide, protocol_named
from meldflow.models.judging.records import Judgement
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks import training
from meldflow.models.networks.common import Epoch
from meldflow.models.networks.scaling import arrays_of
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.models.training.ablations import ablated, smaller
from meldflow.models.training.fit import fit_unit, prepare
from meldflow.models.training.networks import Config
from meldflow.models.training.result import TrainResult
from meldflow.models.training.run import config_for
from tests.models.tables import make_table, train

Fits: TypeAlias = list[dict[str, Any]]
"""What each fit of a run gave, by name: arrays, numbers, records."""

SMALL = {"width": 16, "heads": 2, "speaker_width": 4, "batch_size": 8}
NETWORKS = ("fusion", "reference")

TABLE = make_table((45, 21, 19), signal=0.3, missing=0.1)
"""Splits end within what would be one dialogue, if it were not for the split."""


def config(network: str, *, protocol: str = "official", **more: Any) -> Config:
    return config_for(
        protocol, network, **({"svm_c": (0.1, 1.0), "svm_gamma": (0.3,)} | SMALL | more)
    )


def changed(table: FeatureTable, split: str, *, features: bool = True) -> FeatureTable:
    """``table`` with other labels, features, words and speakers in the rows of a split."""
    rows, random = table.rows(split), np.random.default_rng(1)
    columns = {name: getattr(table, name).copy() for name in ("label", "text", "speaker")}
    others = dict(zip(EMOTIONS, (*EMOTIONS[1:], EMOTIONS[0]), strict=True))
    columns["label"][rows] = [others[one] for one in columns["label"][rows].tolist()]
    values = {path: one.copy() for path, one in table.features.items()}
    if features:
        columns["speaker"][rows] = "Mike"
        columns["text"][rows] = columns["text"][table.rows("train")[0]]
        for one in values.values():
            one[rows] = random.normal(3, 5, one[rows].shape)
    return dataclasses.replace(table, features=values, **columns)


@pytest.fixture
def fits_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Fits, TrainResult]]:
    """Runs a training, and gives all that was fitted on the way, ablations included."""
    seen: Fits = []
    fit, fit_svm = training.fit, svm.fit_svm

    def network(*args: Any, **named: Any) -> Any:
        found = fit(*args, **named)
        seen.append(
            {
                **found.state,
                "history": [without_time(one) for one in found.history],
                "best epoch": found.best_epoch,
                "temperature": found.temperature,
                "described": found.described,
            }
        )
        return found

    def machine(*args: Any, **named: Any) -> Any:
        found = fit_svm(*args, **named)
        seen.append(
            {
                **found.arrays(),
                "temperature": found.temperature,
                "chosen": found.chosen,
                "grid": found.grid,
            }
        )
        return found

    monkeypatch.setattr(training, "fit", network)
    monkeypatch.setattr(svm, "fit_svm", machine)

    def run(table: FeatureTable, given: Config, **more: Any) -> tuple[Fits, TrainResult]:
        seen.clear()
        trained = train(table, given, **more)
        return [*seen, *map(dict, trained.arrays.values())], trained.result

    return run


def without_time(epoch: Epoch) -> Epoch:
    return dataclasses.replace(epoch, seconds=0.0)


def same(ones: Fits, others: Fits, *, but: tuple[str, ...] = ()) -> None:
    """Equal to the bit, all but what is named."""
    assert len(ones) == len(others)
    for one, other in zip(ones, others, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if name not in but:
                np.testing.assert_equal(other[name], value, err_msg=name)


def on_dev(result: TrainResult) -> Mapping[str, Any]:
    """What the choices rest on, and what they fell on."""
    return {
        "winner": result.winner,
        "shown": result.shown.seed,
        "dev": [{name: one.dev for name, one in seed.judged.items()} for seed in result.seeds],
        "ablations": [(one.name, one.dev) for one in result.ablations],
        "majority": result.judged["majority"].predicted,
    }


@pytest.mark.parametrize("network", NETWORKS)
def test_test_rows_reach_nothing_that_is_fitted_or_chosen(
    fits_of: Callable[..., tuple[Fits, TrainResult]], network: str
) -> None:
    """Neither a parameter, nor a scaler, the epoch, C, gamma, a temperature, nor an ablation."""
    given = config(network, epochs=3, svm_c=(0.01, 0.3, 3.0), svm_gamma=(0.1, 1.0))
    ablations = network == "fusion"
    one, before = fits_of(TABLE, given, ablations=ablations)
    other, after = fits_of(changed(TABLE, "test"), given, ablations=ablations)
    assert len(one) == 2 + 7 * ablations + 3  # both, the ablations, and the model that is kept
    assert before.judged["network"].test != after.judged["network"].test
    same(one, other)
    assert on_dev(before) == on_dev(after)


@pytest.mark.parametrize("network", NETWORKS)
def test_dev_rows_choose_and_are_not_fitted_on(
    fits_of: Callable[..., tuple[Fits, TrainResult]], network: str
) -> None:
    """With nothing to choose from, only what dev says of the one choice changes."""
    given = config(network, epochs=1, svm_c=(1.0,))
    more = {"ablations": network == "fusion"}
    one, before = fits_of(TABLE, given, **more)
    other, after = fits_of(changed(TABLE, "dev"), given, **more)
    assert on_dev(before)["dev"] != on_dev(after)["dev"]
    same(one, other, but=("history", "temperature", "chosen", "grid"))
    losses = [[e.train_loss for e in fit["history"]] for fit in one if "history" in fit]
    assert losses == [[e.train_loss for e in fit["history"]] for fit in other if "history" in fit]


def test_the_leaky_protocol_uses_no_row_of_dev_and_test(
    fits_of: Callable[..., tuple[Fits, TrainResult]],
) -> None:
    given = config("reference", protocol="leaky-80-20", epochs=1, svm_c=(1.0,))
    one, _ = fits_of(TABLE, given, protocol="leaky-80-20")
    strange = changed(changed(TABLE, "dev"), "test")
    other, _ = fits_of(strange, given, protocol="leaky-80-20")
    same(one, other)


def test_the_baseline_is_the_majority_of_train_alone() -> None:
    label = np.where(TABLE.split == "train", TABLE.label, "joy")
    assert (label == "joy").sum() > (label == "neutral").sum()
    table = dataclasses.replace(TABLE, label=label)
    result = train(table, config("fusion", epochs=1, svm_c=(1.0,))).result
    assert set(result.judged["majority"].predicted) == {"neutral"}


def test_labels_of_test_rows_change_no_prediction() -> None:
    """So nothing is chosen by them either, such as which seed of an ablation is compared."""
    given, rules = config("fusion", epochs=2), protocol_named("official")
    predicted: list[list[tuple[str, ...]]] = []
    for table in (TABLE, changed(TABLE, "test", features=False)):
        judged = {
            unit: one
            for unit in smaller(table, (0, 1, 2))
            if isinstance(
                one := fit_unit(table.only(unit.modalities), unit, given, rules), Judgement
            )
        }
        predicted.append([best.predicted for _, best in ablated(judged)])
    np.testing.assert_equal(predicted[1], predicted[0])


def test_neither_classifier_nor_seed_is_chosen_by_test_rows(
    fits_of: Callable[..., tuple[Fits, TrainResult]],
) -> None:
    """Although another one is right on all of them."""
    given = config("fusion", epochs=2)
    one, before = fits_of(TABLE, given, seeds=2)
    (loser,) = {"network", "svm"} - {before.winner}
    (unseen,) = (seed for seed in before.seeds if seed.seed != before.shown.seed)
    for favoured in (before.judged[loser], unseen.judged[before.winner]):
        label = TABLE.label.copy()
        label[TABLE.rows("test")] = favoured.predicted
        other, after = fits_of(dataclasses.replace(TABLE, label=label), given, seeds=2)
        same(one, other)
        assert on_dev(before) == on_dev(after)


@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("split", ["dev", "test"])
def test_inputs_of_train_rows_are_those_without_the_others(network: str, split: str) -> None:
    """Scalers, and with them every input of a row to fit on, to the bit."""
    given, rules, rows = config(network), protocol_named("official"), TABLE.rows("train")

    def inputs(table: FeatureTable) -> tuple[dict[str, NDArray[Any]], NDArray[np.float32]]:
        found = prepare(table, given, rules).inputs
        return arrays_of(found.scalers), found.flat()[rows]

    np.testing.assert_equal(inputs(changed(TABLE, split)), inputs(TABLE))


def test_the_svm_alone_sees_the_rows_it_is_fitted_and_chosen_on() -> None:
    """Its vectors are given: whatever stands in the rows to judge on."""
    rules, given = protocol_named("official"), config("fusion", svm_c=(0.01, 0.3, 3.0))
    division = divide(TABLE, rules)
    random = np.random.default_rng(0)
    fused = random.normal(size=(len(TABLE), 8)).astype(np.float32)
    fused += 0.5 * random.normal(size=(7, 8)).astype(np.float32)[division.labels]
    labels, other = division.labels.copy(), fused.copy()
    labels[division.judge] = np.roll(labels[division.judge], 5)
    other[division.judge] = 100
    found: Fits = []
    for vectors, own in ((fused, division.labels), (other, labels)):
        ledger = prepare(TABLE, given, rules).ledger
        machine = svm.fit_svm(
            vectors, dataclasses.replace(division, labels=own), given.grid, ledger
        )
        found.append(
            {
                **machine.arrays(),
                "chosen": machine.chosen,
                "grid": machine.grid,
                "temperature": machine.temperature,
            }
        )
    np.testing.assert_equal(found[1], found[0])
    best = [one.dev_weighted_f1 for one in found[0]["grid"]]
    assert len(set(best)) > 1
    assert found[0]["chosen"] == found[0]["grid"][int(np.argmax(best))]
