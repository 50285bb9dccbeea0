"""Training and judging end to end on drawn tables."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from meldflow.models.judging.records import JUDGED, Judgement
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.reference.config import ReferenceConfig
from meldflow.models.networks.reference.network import PARAMETERS
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import SENTIMENT
from meldflow.models.training.result import Spread, TrainResult
from meldflow.models.training.run import Trained, config_for
from meldflow.models.training.saved import load_model, save_model
from tests.models.tables import make_table, train

QUICK: dict[str, Any] = {"epochs": 3, "batch_size": 32, "svm_c": (1.0,), "svm_gamma": (0.3,)}
CONFIG = config_for("official", "reference", **QUICK)
FUSION = config_for("official", "fusion", epochs=2, width=16, heads=2, svm_c=(1.0,))
OURS = {"audio/wav2vec2", "audio/librosa", "video/resnet50", "text/minilm"}


@pytest.fixture(scope="module")
def trained() -> Trained:
    return train(make_table(missing=0.1), CONFIG)


@pytest.fixture(scope="module")
def result(trained: Trained) -> TrainResult:
    return trained.result


@pytest.fixture(scope="module")
def whole() -> TrainResult:
    """Several seeds and everything that is compared with them."""
    return train(make_table(), FUSION, seeds=2, ablations=True).result


@pytest.fixture(scope="module")
def leaky() -> TrainResult:
    """Noise, of which nothing can be learned but by heart."""
    config = config_for("leaky-80-20", epochs=12, batch_size=16, learning_rate=1e-3)
    table = make_table((100, 10, 40), signal=0.0)
    return train(table, config, protocol="leaky-80-20").result


def test_a_modality_that_the_store_lacks_is_no_ablation() -> None:
    whole = make_table((60, 20, 20))
    none = {path for path in whole.features if path in whole.arrays["video"]}
    table = replace(whole, features={p: v for p, v in whole.features.items() if p not in none})
    less = train(table, FUSION, ablations=True).result.ablations
    assert [one.name for one in less][:2] == ["audio", "text"]
    assert not any(one.name.startswith("video") for one in less)


def on_dev(judgement: Judgement) -> float:
    assert judgement.dev is not None
    return judgement.dev.weighted_f1


def spread(result: TrainResult, *asked: str) -> Spread:
    found = result.over_seeds(*asked)
    assert found is not None
    return found


def kinds(result: TrainResult) -> set[str]:
    return {caution.kind for caution in result.warnings}


def test_a_learnable_table_beats_the_majority(result: TrainResult) -> None:
    floor = result.judged["majority"].test.weighted_f1
    for name in ("network", "svm"):
        assert result.judged[name].test.weighted_f1 > floor + 0.3


def test_the_winner_is_chosen_on_dev(result: TrainResult) -> None:
    dev = {name: on_dev(result.judged[name]) for name in ("network", "svm")}
    assert dev[result.winner] == max(dev.values())


def test_noise_is_called_noise() -> None:
    judged = train(make_table(signal=0.0), CONFIG).result
    assert "not_better_than_majority" in kinds(judged)


def test_ledger_lists_everything_and_train_alone_is_fitted(result: TrainResult) -> None:
    assert {use.split for use in result.fitted} == {"train"}
    assert {use.split for use in result.chosen} == {"dev"}
    assert {(use.object, use.split, use.rows) for use in result.judgements} == {
        ("network", "test", 40),
        ("svm", "test", 40),
        ("majority", "test", 40),
    }
    assert len(result.judgements) == 3
    objects = {use.object for use in result.fitted}
    assert {"ReferenceNetwork", "SVC(rbf, fused)", "StandardScaler(fused)", "majority"} <= objects
    assert "StandardScaler(audio/wav2vec2/mean)" in objects


def test_the_record_holds_what_repeats_the_run(result: TrainResult) -> None:
    assert result.data.rows == {"train": 90, "dev": 30, "test": 40}
    assert set(result.data.keys) == OURS
    assert result.parameters == PARAMETERS
    assert len(result.judged["svm"].confusion) == 7
    assert result.hardware.cores >= 1
    assert {"inputs", "network", "svm", "judging"} <= set(result.shown.durations)
    assert "--snapshot 4K7QW2 --protocol official --network reference" in result.command
    assert "--modalities audio,video,text --target emotion --seed 0 --seeds 1" in result.command
    assert result.command.endswith("--no-ablations")


def test_same_seed_same_result(result: TrainResult) -> None:
    again = train(make_table(missing=0.1), CONFIG).result
    assert again.judged == result.judged
    assert again.shown.svm_grid == result.shown.svm_grid


def test_probabilities_and_the_hardest_utterances(result: TrainResult) -> None:
    judged = result.judged[result.winner]
    assert len(judged.probability) == len(result.test_ids) == 40
    wrong = sum(a != b for a, b in zip(judged.predicted, result.test_truth, strict=True))
    assert len(result.hardest) == min(wrong, 20)
    assert all(one.truth != one.predicted for one in result.hardest)
    likely = [one.probability for one in result.hardest]
    assert likely == sorted(likely)
    for one in result.hardest:
        assert judged.probability[result.test_ids.index(one.utterance)] == one.probability


def test_attention_is_a_share_per_class(result: TrainResult) -> None:
    assert result.shown.attention.modalities == ("audio", "text", "video")
    assert set(result.shown.attention.by_class) == set(result.classes)
    for weights in result.shown.attention.by_class.values():
        assert sum(weights) == pytest.approx(1, abs=1e-3)


def test_seeds_are_summed_up_and_dev_chooses(whole: TrainResult) -> None:
    assert [one.seed for one in whole.seeds] == [0, 1]
    each = [one.judged[whole.winner].test.weighted_f1 for one in whole.seeds]
    found = spread(whole, whole.winner, "weighted_f1")
    assert found.mean == pytest.approx(np.mean(each))
    assert found.sd == pytest.approx(np.std(each, ddof=1))
    dev = [on_dev(one.judged[whole.winner]) for one in whole.seeds]
    assert whole.shown is whole.seeds[int(np.argmax(dev))]
    assert whole.over_seeds(whole.winner, "weighted_f1", "test") is None  # judged, not beside


def test_ablations_take_every_smaller_choice_and_compare(whole: TrainResult) -> None:
    names = [one.name for one in whole.ablations]
    assert names == [
        *("audio", "video", "text", "audio+video", "audio+text", "video+text"),
        "SVM alone: audio+video+text",
    ]
    assert [one.seeds for one in whole.ablations] == [2] * 6 + [1]
    assert {one.other for one in whole.comparisons} == {
        *names,
        "majority",
        *({"network", "svm"} - {whole.winner}),
    }
    assert {one.one for one in whole.comparisons} == {whole.winner}


def test_an_ablation_sees_nothing_of_what_was_taken_away(whole: TrainResult) -> None:
    table = make_table()
    alone = train(table.only(("text",)), FUSION, seeds=2).result
    (text,) = (one for one in whole.ablations if one.name == "text")
    assert text.test["weighted_f1"] == alone.over_seeds("network", "weighted_f1")


def test_the_leak_reaches_everything_on_noise_and_nothing_on_test(leaky: TrainResult) -> None:
    assert leaky.network == "reference"
    assert spread(leaky, "svm", "accuracy", JUDGED).mean > 0.94
    beside = spread(leaky, "svm", "weighted_f1", "test").mean
    assert beside < 0.4
    assert leaky.over_seeds("svm", "weighted_f1", "dev") is None
    assert leaky.winner == "svm"
    assert leaky.warnings[0].kind == "wrong_protocol"
    assert {use.split for use in leaky.fitted} == {"train", "train-80"}
    assert leaky.chosen == ()
    assert {use.split for use in leaky.judgements} == {"train-20", "test"}


def test_sentiment_is_a_target_of_its_own() -> None:
    table = make_table()
    label = np.where(table.label == "neutral", "neutral", "negative")
    label[np.isin(table.label, ("joy", "surprise"))] = "positive"
    result = train(replace(table, label=label, target=SENTIMENT), CONFIG).result
    assert (result.target, result.classes) == ("sentiment", ("neutral", "positive", "negative"))
    assert len(result.judged["svm"].confusion) == 3
    assert set(result.judged["network"].predicted) <= set(result.classes)
    assert result.layers[-2].parameters == 3 * 513


@pytest.mark.parametrize("config", [CONFIG, FUSION], ids=["reference", "fusion"])
def test_a_saved_model_predicts_what_was_reported(config: Any, tmp_path: Path) -> None:
    table = make_table(missing=0.1)
    trained = train(table, config, resume=tmp_path / "state")
    folder = save_model(trained, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "network.safetensors",
        "scalers.safetensors",
        "svm.safetensors",
    ]
    for named in (tmp_path, folder):  # the report, or the model in it
        model = load_model(named)
        likely = model.probabilities(table)
        rows = table.rows("test")
        for name in ("network", "svm"):
            assert tuple(model.predict(table)[name][rows]) == trained.result.judged[name].predicted
            np.testing.assert_allclose(likely[name].sum(axis=1), 1, rtol=1e-5)
        truth = [model.classes.index(label) for label in trained.result.test_truth]
        np.testing.assert_allclose(
            likely["network"][rows, truth],
            trained.result.judged["network"].probability,
            atol=1e-4,
        )


def test_a_saved_model_says_what_it_is(trained: Trained, tmp_path: Path) -> None:
    folder = save_model(trained, tmp_path)
    state = load_file(folder / "network.safetensors")
    assert sum(values.size for values in state.values()) == PARAMETERS
    described = json.loads((folder / "config.json").read_text())
    assert described["config"]["seed"] == 0
    assert described["classes"][0] == "neutral"
    assert described["protocol"] == "official"


@pytest.mark.parametrize("damage", ["gone", "cut", "no json", "other"])
def test_a_damaged_model_is_one_line(trained: Trained, tmp_path: Path, damage: str) -> None:
    folder = save_model(trained, tmp_path)
    file = folder / ("config.json" if damage != "cut" else "network.safetensors")
    text = (folder / "config.json").read_text()
    harm: dict[str, Callable[[], object]] = {
        "gone": lambda: file.unlink(),
        "cut": lambda: file.write_bytes(file.read_bytes()[:-100]),
        "no json": lambda: file.write_text("{"),
        "other": lambda: file.write_text(text.replace('"reference"', '"larger"')),
    }
    harm[damage]()
    with pytest.raises(UsageError) as raised:
        load_model(folder)
    assert str(folder) in str(raised.value) or str(tmp_path) in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("config", [CONFIG, FUSION], ids=["reference", "fusion"])
@pytest.mark.parametrize("extractor", ["text/minilm", "audio/librosa"])
def test_one_extractor_alone_is_workable(extractor: Any, config: Any) -> None:
    table = make_table(without=tuple(OURS - {extractor}), missing=0.1)
    result = train(table, replace(config, epochs=1)).result
    assert "missing_modality" in kinds(result)
    scores = result.judged["network"].test
    assert np.isfinite([scores.weighted_f1, scores.accuracy]).all()


@pytest.mark.parametrize("config", [CONFIG, FUSION], ids=["reference", "fusion"])
def test_a_class_without_training_rows_is_workable(config: Any) -> None:
    table = make_table(missing=0.1)
    label = table.label.copy()
    known = table.rows("train")
    label[known[label[known] == "disgust"]] = "anger"
    result = train(replace(table, label=label), replace(config, epochs=1)).result
    assert "unseen_class" in kinds(result)
    for name in ("network", "svm"):
        curves = {curve.label: curve.auc for curve in result.judged[name].roc}
        assert curves["disgust"] is None
        assert "disgust" not in result.judged[name].predicted


@pytest.mark.parametrize("config", [CONFIG, FUSION], ids=["reference", "fusion"])
def test_values_that_are_not_finite_are_named_and_harmless(config: Any) -> None:
    table = make_table()
    features = {path: values.copy() for path, values in table.features.items()}
    features["text/minilm/embedding"][3, 5] = np.nan
    features["video/resnet50/features"][7, 2, 9] = np.inf
    result = train(replace(table, features=features), replace(config, epochs=1)).result
    named = [str(one) for one in result.warnings if one.kind == "not_finite"]
    assert len(named) == 2
    assert np.isfinite(result.judged["network"].probability).all()


@pytest.mark.parametrize("config", [CONFIG, FUSION], ids=["reference", "fusion"])
def test_one_speaker_is_named_and_harmless(config: Any) -> None:
    table = make_table()
    alone = replace(table, speaker=np.full(len(table), "Ross"))
    result = train(alone, replace(config, epochs=1)).result
    assert "one_speaker" in kinds(result)


@pytest.mark.parametrize(
    ("sizes", "protocol", "message"),
    [
        ((20, 10, 0), "official", "no test rows"),
        ((20, 0, 10), "official", "no dev rows"),
        ((0, 10, 10), "leaky-80-20", "no train rows"),
        ((20, 10, 10), "folds", "unknown protocol 'folds'"),
    ],
)
def test_unusable_input_is_one_clear_line(sizes: Any, protocol: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message) as raised:
        train(make_table(sizes), CONFIG, protocol=protocol)
    assert "\n" not in str(raised.value)


def test_progress_is_told_of_networks_and_machines() -> None:
    steps: list[None] = []
    train(make_table((30, 10, 10)), CONFIG, step=lambda: steps.append(None))
    assert len(steps) == 3 + 1  # epochs, and the only machine of the grid


def test_settings_come_from_the_network_the_protocol_and_the_caller() -> None:
    assert config_for("official") == FusionConfig()
    leaky = config_for("leaky-80-20", seed=4)
    assert (leaky.seed, leaky.dropout, leaky.svm_c, leaky.epochs) == (4, 0.0, (1.0,), 15)
    assert config_for("leaky-80-20", epochs=30, svm_c=(3.0,)).svm_c == (3.0,)
    assert isinstance(leaky, ReferenceConfig)
    assert config_for("official", "reference", device="cuda").epochs == 40
    assert config_for("official", epochs=7, device="cuda").epochs == 7


def test_importing_the_tasks_loads_no_torch() -> None:
    modules = "meldflow.models.training.run, meldflow.tasks.report"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
