"""Training and judging end to end on drawn tables."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from models.reference.network import PARAMETERS
from models.schema import EMOTIONS, UsageError
from tasks.train import FusionConfig, TrainConfig, save_model, train_and_judge
from tests.models.tables import make_table

CONFIG = TrainConfig(epochs=3, batch_size=32, svm_c=(1.0,), svm_gamma=(0.3,))


@pytest.fixture(scope="module")
def result():
    return train_and_judge(make_table(missing=0.1), CONFIG)


def test_a_learnable_table_beats_the_majority(result):
    floor = result.judged["majority"].test.weighted_f1
    for name in ("network", "svm"):
        assert result.judged[name].test.weighted_f1 > floor + 0.3


def test_the_winner_is_chosen_on_dev(result):
    dev = {name: result.judged[name].dev.weighted_f1 for name in ("network", "svm")}
    assert dev[result.winner] == max(dev.values())


def test_noise_is_called_noise():
    judged = train_and_judge(make_table(signal=0.0), CONFIG)
    assert "not_better_than_majority" in {caution.kind for caution in judged.warnings}


def test_ledger_lists_everything_and_train_alone_is_fitted(result):
    assert {use.split for use in result.fitted} == {"train"}
    assert {use.split for use in result.chosen} == {"dev"}
    assert {(use.object, use.split, use.rows) for use in result.judgements} == {
        ("network", "test", 40),
        ("svm", "test", 40),
        ("majority", "test", 40),
    }
    assert len(result.judgements) == 3
    objects = {use.object for use in result.fitted}
    assert {"ReferenceNetwork", "SVC(rbf)", "StandardScaler(fused)", "majority"} <= objects
    assert "StandardScaler(audio/wav2vec2/mean)" in objects


def test_json_is_json_and_complete(result):
    parsed = json.loads(json.dumps(result.to_json(), allow_nan=False))
    for name in ("snapshot", "store", "keys", "weights", "config", "seeds", "hardware"):
        assert parsed[name]
    assert parsed["rows"] == {"train": 90, "dev": 30, "test": 40}
    assert parsed["parameters"] == PARAMETERS
    assert set(parsed["scores"]) == {"network", "svm", "majority"}
    assert set(parsed["scores"]["svm"]) == {"dev", "test"}
    assert len(parsed["confusion"]["svm"]) == 7
    assert set(parsed["auc"]) == {"network", "svm"}
    assert parsed["fitted"][0] == {
        "object": "StandardScaler(audio/wav2vec2/mean)",
        "split": "train",
        "rows": parsed["present"]["audio/wav2vec2/mean"]["train"],
    }
    assert {"cpu", "cores", "torch_threads", "memory_gib"} <= set(parsed["hardware"])
    assert {"inputs", "network", "svm", "total"} <= set(parsed["durations"])


def test_same_seed_same_result(result):
    again = train_and_judge(make_table(missing=0.1), CONFIG)
    assert again.judged == result.judged
    assert again.svm_grid == result.svm_grid


def test_saved_model_is_whole_and_holds_no_pickle(result, tmp_path):
    folder = save_model(result, tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "config.json",
        "network.safetensors",
        "scalers.safetensors",
        "svm.safetensors",
    ]
    state = load_file(folder / "network.safetensors")
    assert sum(values.size for values in state.values()) == PARAMETERS
    described = json.loads((folder / "config.json").read_text())
    assert described["config"]["seed"] == CONFIG.seed
    assert described["emotions"][0] == "neutral"


def test_saved_model_predicts_what_was_reported(result, tmp_path):
    from models.reference.saved import load_model

    folder = save_model(result, tmp_path)
    table = make_table(missing=0.1)
    rows = table.rows("test")
    network, svm = load_model(folder).predict(table)
    assert tuple(network[rows]) == result.judged["network"].predicted
    assert tuple(svm[rows]) == result.judged["svm"].predicted


@pytest.mark.parametrize("extractor", ["text/minilm", "audio/librosa"])
def test_one_extractor_alone_is_workable(extractor):
    names = {"audio/wav2vec2", "audio/librosa", "video/resnet50", "text/minilm"}
    table = make_table(without=tuple(names - {extractor}), missing=0.1)
    result = train_and_judge(table, replace(CONFIG, epochs=1))
    assert "missing_modality" in {caution.kind for caution in result.warnings}
    scores = result.judged["network"].test
    assert np.isfinite([scores.weighted_f1, scores.accuracy]).all()


def test_a_class_without_training_rows_is_workable():
    table = make_table(missing=0.1)
    emotion = table.emotion.copy()
    train = table.rows("train")
    emotion[train[emotion[train] == "disgust"]] = "anger"
    result = train_and_judge(replace(table, emotion=emotion), replace(CONFIG, epochs=1))
    assert result.to_json()["auc"]["svm"]["disgust"] is None
    assert result.to_json()["auc"]["network"]["disgust"] is None


@pytest.mark.parametrize(
    ("sizes", "protocol", "message"),
    [
        ((20, 10, 0), "official", "no test rows"),
        ((20, 0, 10), "official", "no dev rows"),
        ((20, 10, 10), "folds", "unknown protocol 'folds'"),
    ],
)
def test_unusable_input_is_one_clear_line(sizes, protocol, message):
    with pytest.raises(UsageError, match=message) as raised:
        train_and_judge(make_table(sizes), CONFIG, protocol=protocol)
    assert "\n" not in str(raised.value)


def test_epochs_are_told_as_they_end():
    told: list[int] = []
    train_and_judge(make_table((30, 10, 10)), CONFIG, on_epoch=lambda e: told.append(e.epoch))
    assert told == [1, 2, 3]


def test_the_command_repeats_the_run(result):
    assert "--snapshot 4K7QW2 --protocol official --network reference" in result.command
    assert "--modalities audio,video,text --seed 0" in result.command
    named = train_and_judge(make_table((30, 10, 10)), CONFIG, command="meldflow train x")
    assert named.command == "meldflow train x"


def test_importing_the_tasks_loads_no_torch():
    code = "import sys, tasks.train, tasks.report; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fusion_is_fitted_saved_and_read_back(tmp_path):
    from models.fusion.saved import load_fusion
    from models.reference.saved import load_model

    config = FusionConfig(epochs=2, width=16, heads=2, svm_c=(1.0,))
    table = make_table(missing=0.1)
    result = train_and_judge(table, config, resume=tmp_path / "state.safetensors")
    assert (result.network, result.modalities) == ("fusion", ("audio", "video", "text"))
    json.dumps(result.to_json(), allow_nan=False)
    folder = save_model(result, tmp_path)
    likely = load_fusion(folder).probabilities(table)
    np.testing.assert_allclose(likely.sum(axis=1), 1, rtol=1e-5)
    found = np.array(EMOTIONS)[likely[table.rows("test")].argmax(axis=1)]
    assert tuple(found) == result.judged["network"].predicted
    with pytest.raises(UsageError, match="is fusion, not reference"):
        load_model(folder)


def test_seeds_are_summed_up_and_dev_chooses(tmp_path):
    from tasks.options import TrainOptions
    from tasks.training import TrainReport, best_on_dev, fit

    options = TrainOptions(store="s", report=tmp_path, network="fusion", seeds=2, epochs=1)
    results = fit(make_table((60, 20, 20)), options)
    report = TrainReport.of(results, tmp_path / "index.html")
    assert report.seeds == (0, 1)
    each = [one.judged[report.model].test.weighted_f1 for one in results]
    assert report.test["weighted_f1"].mean == pytest.approx(np.mean(each))
    assert report.test["weighted_f1"].sd == pytest.approx(np.std(each, ddof=1))
    dev = [one.judged[report.model].dev.weighted_f1 for one in results]
    assert best_on_dev(results) is results[int(np.argmax(dev))]
    assert {"protocol", "snapshot", "dev", "test", "majority"} <= set(report.to_json())
