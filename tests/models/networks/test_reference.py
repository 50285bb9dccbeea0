"""The reference network, its inputs, its training and the guard around them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from meldflow.models.judging.calibration import log_probabilities
from meldflow.models.judging.protocols import PROTOCOLS, Division, LeakError, Ledger, divide
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.common import Epoch, Fitted, best, class_weights, layers_of
from meldflow.models.networks.reference.config import ReferenceConfig
from meldflow.models.networks.reference.inputs import (
    WIDTH,
    Inputs,
    mean_of_frames,
    prepare,
    standardise,
    to_width,
)
from meldflow.models.networks.reference.network import (
    PARAMETERS,
    ReferenceNetwork,
    Vectors,
    untrained,
)
from meldflow.models.networks.training import fit
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.models.training.run import config_for
from tests.models.tables import STATS, make_table

QUICK = ReferenceConfig(epochs=2, batch_size=32)
SEEDED = ReferenceConfig(projection_seed=1)


def ledger_of(table: FeatureTable) -> Ledger:
    return Ledger(protocol=PROTOCOLS["official"], split=table.split)


def prepared(table: FeatureTable) -> Inputs:
    return prepare(table, table.rows("train"), ledger_of(table), SEEDED)


def fitted(
    table: FeatureTable,
    division: Division,
    config: ReferenceConfig,
    on_epoch: Callable[[Epoch], object] = lambda _: None,
) -> Fitted:
    new = untrained(prepared(table), config, len(division.classes))
    return fit(new, division, config, ledger_of(table), on_epoch)


def test_parameter_count_is_the_published_one() -> None:
    layers = layers_of(ReferenceNetwork())
    assert sum(layer.parameters for layer in layers) == PARAMETERS == 5_813_255
    assert sum(p.numel() for p in ReferenceNetwork().parameters()) == PARAMETERS


def test_forward_shapes_and_attention_sums_to_one() -> None:
    batch = Vectors(*(torch.randn(4, n) for n in (512, 25, 25, 512, 512)))
    output = ReferenceNetwork().eval()(batch)
    assert output.logits.shape == (4, 7)
    assert output.fused.shape == (4, 512)
    assert output.attention.shape == (4, 3)
    torch.testing.assert_close(output.attention.sum(-1), torch.ones(4))


def test_every_parameter_that_one_step_can_reach_gets_a_gradient() -> None:
    batch = Vectors(*(torch.randn(4, n) for n in (512, 25, 25, 512, 512)))
    network = ReferenceNetwork()
    network(batch).logits.sum().backward()
    # The state before the only step is zero, so recurrent weights are the one exception.
    gradients = {name: one.grad for name, one in network.named_parameters()}
    still = {name for name, one in gradients.items() if one is None or not one.any()}
    assert {name for name in still if "weight_hh" not in name} == set()


def test_inputs_have_the_published_widths_and_are_finite() -> None:
    table = make_table(missing=0.3)
    inputs = prepared(table)
    widths = {"voice": 512, "mfcc": 25, "scalars": 25, "text": 512, "video": 512}
    for name, width in widths.items():
        values = inputs.values[name]
        assert values.shape == (len(table), width)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert not inputs.values["text"][:, 384:].any()


def test_scalars_are_repeated_five_times_in_order() -> None:
    inputs = prepared(make_table())
    np.testing.assert_array_equal(inputs.values["scalars"][:, :5], inputs.values["scalars"][:, 20:])
    assert np.unique(inputs.values["scalars"][0, :5]).size == 5


def test_missing_rows_become_the_train_mean() -> None:
    table = make_table(missing=0.3)
    inputs = prepared(table)
    gone = ~table.present("audio/wav2vec2/mean")
    assert gone.any()
    assert not inputs.values["voice"][gone].any()


def test_absent_extractor_gives_zeros_and_no_scaler() -> None:
    table = make_table(without=("audio/librosa", "video/resnet50"))
    ledger = ledger_of(table)
    inputs = prepare(table, table.rows("train"), ledger, SEEDED)
    assert [use.object for use in ledger.uses["fit"]] == [
        "StandardScaler(audio/wav2vec2/mean)",
        "StandardScaler(text/minilm/embedding)",
    ]
    assert not inputs.values["video"].any()
    assert not inputs.values["mfcc"].any()
    assert set(inputs.scalers) == {"voice", "text"}


def test_column_never_seen_in_train_stays_out() -> None:
    table = make_table()
    tempo = table.features["audio/librosa/tempo"].copy()
    tempo[table.rows("train")] = np.nan
    table = replace(table, features={**table.features, "audio/librosa/tempo": tempo})
    assert not prepared(table).values["scalars"][:, 3].any()


def test_mean_of_frames_ignores_masked_frames() -> None:
    table = make_table(sizes=(2, 1, 1))
    frames = np.full((4, 10, 2048), np.nan, np.float16)
    frames[0, :2] = np.array([1, 3], np.float16)[:, None]
    frames[1] = 60000  # ten of these overflow float16
    means = mean_of_frames(replace(table, features={"video/resnet50/features": frames}))
    np.testing.assert_array_equal(means[:2, 0], [2, 60000])
    assert np.isnan(means[2:]).all()


def test_infinity_counts_as_missing() -> None:
    scaler = prepared(make_table()).scalers["text"]
    values = np.full((1, 384), np.inf, np.float32)
    assert not standardise(values, scaler).any()


def test_projection_keeps_distances_and_reads_no_data() -> None:
    values = np.random.default_rng(0).normal(size=(20, 2048)).astype(np.float32)
    projected = to_width(values, seed=3)
    assert projected.shape == (20, WIDTH)
    ratio = np.linalg.norm(projected[1:] - projected[0], axis=1) / np.linalg.norm(
        values[1:] - values[0], axis=1
    )
    assert np.abs(ratio - 1).max() < 0.15
    np.testing.assert_allclose(to_width(values[:1], seed=3), projected[:1], rtol=1e-4, atol=1e-4)
    assert not np.allclose(to_width(values, seed=4), projected)


def test_missing_column_names_it() -> None:
    table = make_table()
    columns = {"audio/librosa/stats": STATS[1:]}
    with pytest.raises(UsageError, match="no column mfcc_0_mean"):
        prepared(replace(table, columns=columns))


@pytest.mark.parametrize("split", ["dev", "test"])
def test_fitting_outside_train_raises(split: str) -> None:
    table = make_table()
    rows = np.append(table.rows("train"), table.rows(split)[0])
    with pytest.raises(LeakError, match=f"may fit on train rows only, got rows of {split}"):
        prepare(table, rows, ledger_of(table), SEEDED)
    division = replace(divide(table, PROTOCOLS["official"]), fit=rows)
    with pytest.raises(LeakError, match="ReferenceNetwork"):
        fitted(table, division, QUICK)


def test_ledger_judges_once_and_chooses_on_dev_only() -> None:
    table = make_table()
    ledger = ledger_of(table)
    ledger.enter("judge", "svm", table.rows("test"))
    with pytest.raises(LeakError, match="once"):
        ledger.enter("judge", "svm", table.rows("test"))
    with pytest.raises(LeakError, match="may choose on dev"):
        ledger.enter("choose", "epoch", table.rows("test"))


def test_same_seed_same_bits_and_global_state_untouched() -> None:
    table = make_table()
    division = divide(table, PROTOCOLS["official"])
    before = torch.random.get_rng_state()
    seen: list[Epoch] = []
    runs = [
        fitted(table, division, config, seen.append)
        for config in (QUICK, QUICK, replace(QUICK, seed=1))
    ]
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(runs[0].said.logits, runs[1].said.logits)
    np.testing.assert_array_equal(runs[0].said.fused, runs[1].said.fused)
    assert not np.array_equal(runs[0].said.logits, runs[2].said.logits)
    assert [epoch.epoch for epoch in seen] == [1, 2] * 3
    np.testing.assert_allclose(np.exp(log_probabilities(runs[0].said.logits, 2.0)).sum(axis=1), 1)


def test_best_epoch_is_restored_and_patience_ends_training() -> None:
    table = make_table(signal=0.0)
    division = divide(table, PROTOCOLS["official"])
    config = ReferenceConfig(epochs=30, patience=1)
    found = fitted(table, division, config)
    assert len(found.history) < 30
    assert found.best_epoch == len(found.history) - 1
    predicted = found.said.logits[division.choose].argmax(axis=1)
    from sklearn.metrics import f1_score

    f1 = f1_score(division.labels[division.choose], predicted, average="weighted", zero_division=0)
    assert f1 == pytest.approx(best(found.history).dev_weighted_f1)


@pytest.mark.parametrize(("kind", "ratio"), [("none", 1.0), ("sqrt", 3.0), ("balanced", 9.0)])
def test_class_weights(kind: str, ratio: float) -> None:
    labels = np.array([0] * 9 + [1], dtype=np.intp)
    weights = class_weights(labels, len(EMOTIONS), kind)
    assert weights[1] / weights[0] == pytest.approx(ratio)
    assert weights[labels].mean() == pytest.approx(1)
    assert not weights[2:].any()


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("epochs", 0),
        ("learning_rate", 0.0),
        ("dropout", 1.0),
        ("seed", -1),
        ("svm_c", ()),
        ("svm_gamma", (1.0, -1.0)),
        ("class_weighting", "inverse"),
    ],
)
def test_config_names_the_bad_setting(setting: str, value: Any) -> None:
    with pytest.raises(UsageError, match=setting):
        config_for("official", "reference", **{setting: value})


def test_table_refuses_columns_of_different_lengths() -> None:
    table = make_table()
    with pytest.raises(UsageError, match="speaker has 1 rows"):
        replace(table, speaker=table.speaker[:1])


def test_table_names_its_rows() -> None:
    table = make_table(sizes=(2, 1, 1))
    assert table.ids() == ["train/dia0_utt0", "train/dia0_utt1", "dev/dia0_utt2", "test/dia0_utt3"]
