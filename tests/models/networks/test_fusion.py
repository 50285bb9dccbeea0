"""Context fusion: what it sees, what it must not see, and training that repeats itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from meldflow.models.judging.protocols import PROTOCOLS, LeakError, Ledger, Protocol, divide
from meldflow.models.judging.table import SEGMENTS, FeatureTable, segments, wanted
from meldflow.models.networks.checkpoint import Checkpoints
from meldflow.models.networks.common import Epoch, Fitted, Output, Precision
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.fusion.inputs import SOMEBODY, Inputs, dialogues, frequent, prepare
from meldflow.models.networks.fusion.network import FusionNetwork, dialogues_of, keep_some
from meldflow.models.networks.fusion.network import untrained as untrained_network
from meldflow.models.networks.training import fit
from meldflow.models.schema.errors import UsageError
from meldflow.models.training.run import config_for
from tests.models.tables import make_table

CONFIG = FusionConfig(epochs=3, width=16, heads=2, speaker_width=4, batch_size=4)
OFFICIAL = PROTOCOLS["official"]


def ledger_of(table: FeatureTable) -> Ledger:
    return Ledger(protocol=OFFICIAL, split=table.split)


def prepared(table: FeatureTable, config: FusionConfig = CONFIG) -> Inputs:
    return prepare(table, table.rows("train"), ledger_of(table), config)


def fitted(
    table: FeatureTable,
    config: FusionConfig = CONFIG,
    ledger: Ledger | None = None,
    protocol: Protocol = OFFICIAL,
    **more: Any,
) -> Fitted:
    ledger, division = ledger or ledger_of(table), divide(table, protocol)
    inputs = prepare(table, table.rows("train"), ledger, config)
    new = untrained_network(inputs, config, len(division.classes))
    return fit(new, division, config, ledger, **more)


def untrained(inputs: Inputs, config: FusionConfig = CONFIG) -> FusionNetwork:
    torch.manual_seed(0)
    return FusionNetwork(inputs.shapes(), len(inputs.speakers), config).eval()


def logits(
    network: FusionNetwork, inputs: Inputs, rows: Sequence[NDArray[np.intp]]
) -> torch.Tensor:
    with torch.inference_mode():
        output: Output[torch.Tensor] = network(dialogues_of(inputs, rows))
    return output.logits


def changed(table: FeatureTable, row: int) -> FeatureTable:
    """``table`` with all features of one row replaced by those of a stranger."""
    other = {path: values.copy() for path, values in table.features.items()}
    for values in other.values():
        values[row] = values[row - 40]
    return replace(table, features=other)


@pytest.mark.parametrize("causal", [False, True])
def test_a_dialogue_gives_the_same_in_any_company(causal: bool) -> None:
    config = replace(CONFIG, causal=causal)
    inputs = prepared(make_table(missing=0.2), config)
    network = untrained(inputs, config)
    together = logits(network, inputs, inputs.dialogues)
    alone = torch.cat([logits(network, inputs, [one]) for one in inputs.dialogues])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("causal", "reaches_back"), [(True, False), (False, True)])
def test_the_causal_variant_sees_no_future(causal: bool, reaches_back: bool) -> None:
    config, table = replace(CONFIG, causal=causal), make_table()
    before = prepared(table, config)
    # of a split that no scaler is fitted on
    dialogue = next(
        one for one in before.dialogues if table.split[one[0]] == "test" and len(one) > 3
    )
    after = prepared(changed(table, dialogue[-1]), config)
    network = untrained(before, config)
    one, other = (logits(network, inputs, [dialogue]) for inputs in (before, after))
    assert not torch.equal(one[-1], other[-1])
    assert torch.equal(one[:-1], other[:-1]) is not reaches_back


def test_steps_beyond_a_clip_change_nothing() -> None:
    inputs = prepared(make_table())
    video = inputs.streams["video"]
    video.steps[:] = 4
    network = untrained(inputs)
    before = logits(network, inputs, inputs.dialogues)
    video.values[:, 4:] = 9
    torch.testing.assert_close(logits(network, inputs, inputs.dialogues), before)


def test_what_is_missing_is_not_looked_at() -> None:
    inputs = prepared(make_table())
    for name in ("audio", "video"):
        inputs.streams[name].steps[:] = 0
    network = untrained(inputs)
    with torch.inference_mode():
        before = network(dialogues_of(inputs, inputs.dialogues))
        inputs.streams["audio"].values[:] = 5
        after = network(dialogues_of(inputs, inputs.dialogues))
    torch.testing.assert_close(before.logits, after.logits)
    names = [*inputs.streams, "nothing"]
    shares = dict(zip(names, before.attention.T, strict=True))
    torch.testing.assert_close(shares["text"], torch.ones(len(shares["text"])))


def test_an_utterance_without_any_modality_is_finite() -> None:
    inputs = prepared(make_table())
    for stream in inputs.streams.values():
        stream.steps[:2] = 0
    with torch.inference_mode():
        output = untrained(inputs)(dialogues_of(inputs, inputs.dialogues))
    assert all(bool(one.isfinite().all()) for one in output)


def test_modality_dropout_leaves_the_last_one() -> None:
    torch.manual_seed(0)
    present = torch.rand(500, 3) < 0.5
    kept = keep_some(present, 0.9)
    assert not (kept & ~present).any()
    assert torch.equal(kept.any(dim=1), present.any(dim=1))
    assert kept.sum() < present.sum()


def test_seeds_repeat_to_the_bit_and_leave_the_callers_random_state_alone() -> None:
    table, state = make_table(missing=0.1), torch.get_rng_state()
    one, other = fitted(table), fitted(table)
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(one.said.logits, other.said.logits)
    assert not np.array_equal(one.said.logits, fitted(table, replace(CONFIG, seed=1)).said.logits)


def test_resumed_equals_uninterrupted() -> None:
    table, kept = make_table(missing=0.1), list[bytes]()
    whole = fitted(
        table, checkpoints=Checkpoints(identity="a", read=lambda: None, write=kept.append)
    )
    assert len(kept) == 3
    epochs = list[Epoch]()
    resumed = fitted(
        table,
        checkpoints=Checkpoints(identity="a", read=lambda: kept[0], write=lambda _: None),
        on_epoch=epochs.append,
    )
    assert [epoch.epoch for epoch in epochs] == [2, 3]
    np.testing.assert_array_equal(resumed.said.logits, whole.said.logits)
    np.testing.assert_array_equal(resumed.said.fused, whole.said.fused)


@pytest.mark.parametrize("damage", ["other", "cut", "empty"])
def test_a_checkpoint_that_is_not_this_runs_is_not_gone_on_from(damage: str) -> None:
    table, kept, epochs = make_table(), list[bytes](), list[Epoch]()
    fitted(table, checkpoints=Checkpoints(identity="a", read=lambda: None, write=kept.append))
    held = {"other": kept[0], "cut": kept[0][:-9], "empty": b""}[damage]
    identity = "b" if damage == "other" else "a"
    again = Checkpoints(identity=identity, read=lambda: held, write=lambda _: None)
    fitted(table, checkpoints=again, on_epoch=epochs.append)
    assert [epoch.epoch for epoch in epochs] == [1, 2, 3]


def test_training_learns_what_is_there() -> None:
    table = make_table()
    found = fitted(table, replace(CONFIG, epochs=20, width=32))
    division = divide(table, OFFICIAL)
    guessed = found.said.logits[division.choose].argmax(axis=1)
    assert (guessed == division.labels[division.choose]).mean() > 0.8
    assert found.said.fused.shape == (len(table), 2 * 32 + 4)


@pytest.mark.parametrize("without", [("text/minilm",), ("audio/wav2vec2", "audio/librosa")])
def test_a_modality_that_is_not_there_is_left_out(without: tuple[str, ...]) -> None:
    found = fitted(make_table(without=without), replace(CONFIG, epochs=1))
    assert np.isfinite(found.said.logits).all()


def test_nan_and_infinity_in_a_feature_never_reach_the_network() -> None:
    table = make_table()
    values = table.features["audio/wav2vec2/mean"].copy()
    values[:5, :300], values[5:9], values[:, 7] = np.nan, np.inf, np.nan
    broken = replace(table, features={**table.features, "audio/wav2vec2/mean": values})
    inputs = prepared(broken)
    assert all(np.isfinite(stream.values).all() for stream in inputs.streams.values())
    assert np.isfinite(fitted(broken, replace(CONFIG, epochs=1)).said.logits).all()


def test_speakers_are_those_who_often_speak_in_train() -> None:
    names = np.array(["Ross"] * 60 + ["Gunther"] + ["Joey"] * 39)
    assert frequent(names, 0.02) == ("Joey", "Ross")
    table = make_table()
    speaker = np.where(table.split == "train", table.speaker, "A stranger")
    inputs = prepared(replace(table, speaker=speaker))
    assert inputs.speakers == ("Joey", "Ross")
    assert set(inputs.speaker[table.split != "train"]) == {SOMEBODY}


def test_dialogues_are_in_order_and_cut_where_too_long() -> None:
    table = make_table()
    shuffled = np.random.default_rng(0).permutation(len(table))
    mixed = replace(table, utterance=shuffled, dialogue=np.zeros(len(table), dtype=int))
    found = list(dialogues(mixed, 16))
    assert sorted(np.concatenate(found)) == list(range(len(table)))
    for one in found:
        assert len(one) <= 16
        assert len(set(table.split[one])) == 1
        assert (np.diff(mixed.utterance[one]) > 0).all()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_device_that_is_not_there_is_one_line() -> None:
    with pytest.raises(UsageError, match="no device cuda on this machine; cpu and auto"):
        fitted(make_table(), replace(CONFIG, device="cuda"))


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_learns_nearly_the_same(precision: Precision) -> None:
    config = replace(CONFIG, epochs=1)
    exact, mixed = (
        fitted(make_table(), one).said.logits
        for one in (config, replace(config, precision=precision))
    )
    assert 0 < np.abs(exact - mixed).max() < 0.05


def test_a_protocol_that_chooses_nothing_keeps_the_last_epoch() -> None:
    table = make_table()
    leaky = PROTOCOLS["leaky-80-20"]
    ledger = Ledger(protocol=leaky, split=table.split)
    found = fitted(table, CONFIG, ledger, leaky)
    assert found.best_epoch == len(found.history) == CONFIG.epochs
    assert {epoch.dev_weighted_f1 for epoch in found.history} == {None}
    assert (found.temperature, ledger.uses["choose"]) == (1.0, [])


def test_what_was_saved_for_other_modalities_fits_again() -> None:
    inputs = prepared(make_table(without=("audio/wav2vec2", "audio/librosa")))
    whole = prepared(make_table())
    wide = inputs.shaped_like(whole.shapes())
    assert wide.shapes() == whole.shapes()
    assert not wide.streams["audio"].steps.any()
    assert bool(logits(untrained(whole), wide, wide.dialogues).isfinite().all())


def test_fitting_on_dev_is_refused() -> None:
    table = make_table()
    with pytest.raises(LeakError, match="may fit on train rows only"):
        prepare(table, table.rows("dev"), ledger_of(table), CONFIG)


def test_everything_fitted_or_chosen_is_in_the_ledger() -> None:
    table = make_table()
    ledger = ledger_of(table)
    fitted(table, CONFIG, ledger)
    assert {use.split for use in ledger.uses["fit"]} == {"train"}
    named = {use.object for use in ledger.uses["fit"]}
    assert {"FusionNetwork", "speakers with a vector of their own"} <= named
    assert [use.object for use in ledger.uses["choose"]] == ["FusionNetwork: epoch and temperature"]
    assert not ledger.uses["judge"]


def test_segments_keep_100_ms_and_cap_long_clips() -> None:
    frames = np.repeat(np.arange(10.0), 5)[:, None] * [[1.0, np.nan]]
    found = segments(frames)
    assert found.shape == (SEGMENTS, 2)
    np.testing.assert_array_equal(found[:10, 0], np.arange(10))
    assert np.isnan(found[10:, 0]).all()
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(segments(np.ones((9999, 2)))).all()
    assert np.isnan(segments(np.ones((0, 2)))).all()


def test_only_what_is_needed_is_asked_for() -> None:
    held = {"text/minilm/embedding", "audio/librosa/frames", "audio/librosa/stats"}
    assert wanted("fusion", ("text",), held) == {"text": ("text/minilm/embedding",)}
    assert wanted("fusion", ("text",), held | {"text/minilm/layers"}) == {
        "text": ("text/minilm/layers",)
    }
    assert wanted("fusion", ("audio",), held)["audio"][1] == "audio/librosa/frames"
    assert set(wanted("reference", ("video",), held)) == {"video"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("width", 9), ("dropout", 1.5), ("class_weighting", "all"), ("precision", "8"), ("svm_c", ())],
)
def test_settings_out_of_range_are_named(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=field):
        config_for("official", "fusion", **{field: value})
