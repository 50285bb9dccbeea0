"""Metrics against hand-computed cases, the SVM, protocols and cautions."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.svm import SVC

from meldflow.models.judging.calibration import log_probabilities, reliability, temperature
from meldflow.models.judging.metrics import (
    by_class,
    class_of,
    compare,
    confusion,
    interval,
    judge,
    majority,
    only_seen,
    roc,
    score,
    weighted_f1,
)
from meldflow.models.judging.protocols import (
    PARTS,
    PROTOCOLS,
    Division,
    LeakError,
    Ledger,
    divide,
    protocol_named,
)
from meldflow.models.judging.svm import SavedSvm, fit_svm
from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.reference.config import ReferenceConfig
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.models.training.cautions import Situation, cautions, repeated_texts
from tests.models.tables import make_table

OFFICIAL = PROTOCOLS["official"]
TRUTH = np.array([0, 0, 0, 1, 1, 4], dtype=np.intp)
PREDICTED = np.array([0, 0, 1, 1, 4, 4], dtype=np.intp)


def test_score_by_hand() -> None:
    # neutral: P 1, R 2/3, F 0.8 (3 rows); surprise: P R F 1/2 (2); joy: P 1/2, R 1, F 2/3 (1)
    scores = score(TRUTH, PREDICTED, EMOTIONS)
    assert scores.rows == 6
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.weighted_f1 == pytest.approx((3 * 0.8 + 2 * 0.5 + 2 / 3) / 6)
    assert scores.weighted_precision == pytest.approx((3 + 2 * 0.5 + 0.5) / 6)
    assert scores.weighted_recall == pytest.approx(4 / 6)
    assert scores.macro_f1 == pytest.approx((0.8 + 0.5 + 2 / 3) / 7)
    assert scores.macro_precision == pytest.approx((1 + 0.5 + 0.5) / 7)
    assert scores.macro_recall == pytest.approx((2 / 3 + 0.5 + 1) / 7)


def test_confusion_has_true_rows_and_predicted_columns() -> None:
    matrix = confusion(TRUTH, PREDICTED, EMOTIONS)
    assert matrix.shape == (7, 7)
    assert matrix[0].tolist() == [2, 1, 0, 0, 0, 0, 0]
    assert matrix[:, 4].tolist() == [0, 1, 0, 0, 1, 0, 0]


def test_by_class_by_hand() -> None:
    matrix = confusion(TRUTH, PREDICTED, EMOTIONS)
    lines = {line.label: line for line in by_class(matrix, EMOTIONS)}
    neutral = lines["neutral"]
    assert (neutral.total, neutral.correct, neutral.wrong) == (3, 2, 1)
    assert neutral.percent == pytest.approx(200 / 3)
    assert neutral.f1 == pytest.approx(0.8)
    fear = lines["fear"]
    assert (fear.total, fear.percent, fear.precision, fear.f1) == (0, None, None, None)


def test_interval_holds_the_score_and_narrows_with_rows() -> None:
    rng = np.random.default_rng(0)
    widths = []
    for n in (60, 6000):
        truth = rng.choice(7, n)
        predicted = np.where(rng.random(n) < 0.6, truth, rng.choice(7, n))
        low, high = interval(confusion(truth, predicted, EMOTIONS))
        assert low < f1_score(truth, predicted, average="weighted") < high
        widths.append(high - low)
    assert 0.15 < widths[0] < 0.35
    assert widths[1] < widths[0] / 5


def test_roc_agrees_with_sklearn_and_leaves_out_what_is_undefined() -> None:
    scores = np.random.default_rng(0).normal(size=(6, 7))
    curves = {curve.label: curve for curve in roc(TRUTH, scores, EMOTIONS)}
    assert curves["neutral"].auc == pytest.approx(roc_auc_score(TRUTH == 0, scores[:, 0]))
    assert curves["neutral"].true_positive_rate[-1] == 1
    assert [c.auc for c in curves.values()].count(None) == 4
    unseen = roc(TRUTH, only_seen(scores, np.array([0, 1])), EMOTIONS)
    assert unseen[4].auc is None
    assert unseen[1].auc == curves["surprise"].auc


def test_judge_without_scores_has_no_curves() -> None:
    judgement = judge((TRUTH, TRUTH), (TRUTH, PREDICTED), EMOTIONS)
    assert judgement.roc == ()
    assert judgement.dev is not None
    assert judgement.dev.accuracy == 1
    assert judgement.predicted[:3] == ("neutral", "neutral", "surprise")


def test_majority_takes_the_first_of_equals() -> None:
    assert majority(np.array([4, 4, 1, 1, 0], dtype=np.intp)) == 1


def clouds(classes: list[int], n: int = 30) -> tuple[np.ndarray, Division, Ledger]:
    """Well separated clouds; three splits of ``n`` rows."""
    rng = np.random.default_rng(0)
    labels = np.tile(np.resize(classes, n), 3).astype(np.intp)
    fused = (4 * rng.normal(size=(7, 512))[labels] + rng.normal(size=(3 * n, 512))).astype("f4")
    rows = np.arange(3 * n).reshape(3, n)
    division = Division(
        fit=rows[0],
        fit_svm=rows[0],
        choose=rows[1],
        judge=rows[2],
        labels=labels,
        classes=EMOTIONS,
    )
    split = np.repeat(["train", "dev", "test"], n)
    return fused, division, Ledger(protocol=OFFICIAL, split=split)


@pytest.mark.parametrize("classes", [[0, 4], [0, 1, 6], list(range(7))])
def test_svm_separates_clouds_whatever_the_number_of_classes(classes: Any) -> None:
    fused, division, ledger = clouds(classes)
    svm = fit_svm(fused, division, ReferenceConfig().grid, ledger)
    truth = division.labels[division.judge]
    scores = svm.scores(fused[division.judge])
    assert scores.shape == (30, 7)
    np.testing.assert_array_equal(class_of(scores), truth)
    assert np.isnan(scores).all(axis=0).tolist() == [i not in classes for i in range(7)]


def test_svm_is_fitted_on_train_and_chosen_on_dev() -> None:
    fused, division, ledger = clouds([0, 1, 2])
    svm = fit_svm(fused, division, ReferenceConfig(svm_c=(1, 10), svm_gamma=(0.1, 1)).grid, ledger)
    assert {(use.object, use.split, use.rows) for use in ledger.uses["fit"]} == {
        ("StandardScaler(fused)", "train", 30),
        ("SVC(rbf, fused)", "train", 30),
    }
    assert [use.split for use in ledger.uses["choose"]] == ["dev"]
    assert len(svm.grid) == 4
    assert svm.chosen.dev_weighted_f1 == max(one.dev_weighted_f1 or 0.0 for one in svm.grid)
    assert svm.machine.shape_fit_ == (30, 30)
    wrong = replace(division, fit_svm=division.choose)
    with pytest.raises(LeakError):
        fit_svm(fused, wrong, ReferenceConfig().grid, ledger)


def test_svm_is_scikit_learns_rbf_machine() -> None:
    fused, division, ledger = clouds(list(range(7)))
    fused += np.random.default_rng(1).normal(scale=9, size=fused.shape).astype("f4")
    svm = fit_svm(fused, division, ReferenceConfig(svm_c=(2,), svm_gamma=(0.5,)).grid, ledger)
    plain = SVC(C=2, gamma=0.5 / 512, class_weight="balanced", decision_function_shape="ovo")
    plain.fit(svm.scaler.transform(fused[division.fit]), division.labels[division.fit])
    test = fused[division.judge]
    pairs = plain.decision_function(svm.scaler.transform(test))
    expected = np.zeros((len(test), 7))
    for machine, (a, b) in enumerate(combinations(range(7), 2)):
        expected[:, a] += pairs[:, machine]
        expected[:, b] -= pairs[:, machine]
    np.testing.assert_allclose(svm.scores(test), expected, atol=1e-3)
    votes = plain.predict(svm.scaler.transform(test))
    assert (class_of(svm.scores(test)) == votes).mean() > 0.8


def test_a_saved_machine_says_what_the_fitted_one_does() -> None:
    for classes in ([0, 4], [0, 1, 6], list(range(7))):
        fused, division, ledger = clouds(classes)
        fused += np.random.default_rng(1).normal(scale=9, size=fused.shape).astype("f4")
        svm = fit_svm(fused, division, ReferenceConfig().grid, ledger)
        saved = SavedSvm(
            arrays=svm.arrays(),
            gamma=svm.chosen.gamma,
            temperature=svm.temperature,
            classes=7,
        )
        np.testing.assert_allclose(saved.scores(fused), svm.scores(fused), atol=1e-3)


def test_probabilities_of_the_svm_are_chosen_on_dev_and_as_sure_as_right() -> None:
    fused, division, ledger = clouds(list(range(7)), n=300)
    fused += np.random.default_rng(1).normal(scale=25, size=fused.shape).astype("f4")
    svm = fit_svm(fused, division, ReferenceConfig(svm_c=(1,), svm_gamma=(0.1,)).grid, ledger)
    assert [use.split for use in ledger.uses["choose"]] == ["dev"]
    rows = division.judge
    plain, _ = reliability(svm.scores(fused[rows]), division.labels[rows], 1.0)
    mended, _ = reliability(svm.scores(fused[rows]), division.labels[rows], svm.temperature)
    assert mended.error < plain.error


def test_temperature_makes_a_boaster_modest() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 7, 2000)
    honest = rng.normal(size=(2000, 7)) + 2 * np.eye(7)[labels]
    own = temperature(honest, labels)
    assert temperature(3 * honest, labels) == pytest.approx(3 * own, rel=0.02)


def test_temperature_of_nothing_to_go_by_is_one() -> None:
    assert temperature(np.zeros((0, 7)), np.zeros(0, np.intp)) == 1
    never = np.full((3, 7), np.nan)
    never[:, :2] = 1
    assert temperature(never, np.array([5, 6, 5])) == 1


def test_reliability_by_hand() -> None:
    likely = np.array([[0.8, 0.2], [0.8, 0.2], [0.4, 0.6], [0.65, 0.35]])
    found, truth = reliability(np.log(likely), np.array([0, 1, 1, 1]), 1.0)
    assert [(one.rows, one.accuracy) for one in found.bins] == [(2, 0.5), (2, 0.5)]
    assert [one.confidence for one in found.bins] == pytest.approx([0.625, 0.8])
    assert found.error == pytest.approx((2 * 0.125 + 2 * 0.3) / 4)
    np.testing.assert_allclose(truth, [0.8, 0.2, 0.6, 0.35])


def test_a_class_never_seen_has_no_probability() -> None:
    scores = np.array([[1.0, np.nan, 0.0]])
    np.testing.assert_allclose(np.exp(log_probabilities(scores, 0.5)).sum(), 1)
    assert np.exp(log_probabilities(scores, 0.5))[0, 1] == 0


def test_comparison_by_hand() -> None:
    truth = np.array([0] * 50 + [1] * 50, dtype=np.intp)
    one, other = truth.copy(), truth.copy()
    one[:2], other[10:20] = 1, 1
    found = compare(("one", "other"), truth, (one, other), EMOTIONS)
    assert (found.only_one, found.only_other) == (10, 2)
    # McNemar's exact test: both tails of a fair coin that falls 10 to 2
    assert found.p == pytest.approx(2 * sum((1, 12, 66)) / 2**12)
    assert found.difference == pytest.approx(weighted_f1(truth, one) - weighted_f1(truth, other))
    assert found.low < found.difference < found.high
    same = compare(("one", "one"), truth, (one, one), EMOTIONS)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)


def test_the_leaky_protocol_divides_the_training_rows_as_published() -> None:
    split = np.repeat(["train", "dev", "test"], (9988, 3, 4))
    table = make_table((300, 20, 20))
    leaky = PROTOCOLS["leaky-80-20"]
    assert len(PARTS["train-20"](split)) == 1998
    assert len(PARTS["train-80"](split)) == 7990
    division = divide(table, leaky)
    assert not len(division.choose)
    assert sorted([*division.fit_svm, *division.judge]) == table.rows("train").tolist()
    assert division.beside["test"].tolist() == table.rows("test").tolist()
    assert leaky.wrong
    assert not OFFICIAL.wrong


def test_the_leaky_protocol_has_a_guard_too() -> None:
    table = make_table((300, 20, 20))
    ledger = Ledger(protocol=PROTOCOLS["leaky-80-20"], split=table.split)
    division = divide(table, ledger.protocol)
    ledger.enter("fit_svm", "SVC", division.fit_svm)
    with pytest.raises(LeakError, match="may fit on train-80 rows only"):
        ledger.enter("fit_svm", "SVC", division.judge)
    with pytest.raises(LeakError, match="chooses nothing"):
        ledger.enter("choose", "C", table.rows("dev"))
    with pytest.raises(LeakError, match="may judge on train-20 or test rows only"):
        ledger.enter("judge", "svm", division.fit_svm)
    ledger.enter("judge", "svm", division.judge)
    ledger.enter("judge", "svm", table.rows("test"))
    with pytest.raises(LeakError, match="judged on test already"):
        ledger.enter("judge", "svm", table.rows("test"))


def test_unknown_protocol_names_the_known() -> None:
    with pytest.raises(UsageError, match="'leaky'; there is: official, leaky-80-20"):
        protocol_named("leaky")


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 9, 9), "no train rows; protocol official needs them to fit"),
        ((9, 0, 9), "no dev rows; protocol official needs them to choose"),
        ((9, 9, 0), "no test rows; protocol official needs them to judge"),
        ((1, 9, 9), "all train rows are neutral"),
    ],
)
def test_divide_names_what_is_missing(sizes: Any, message: Any) -> None:
    with pytest.raises(UsageError, match=message):
        divide(make_table(sizes), OFFICIAL)


def test_divide_refuses_strange_emotions_and_empty_features() -> None:
    table = make_table((9, 9, 9))
    label = table.label.astype("<U10")
    label[3] = "Joy"
    with pytest.raises(UsageError, match="unknown emotion 'Joy'"):
        divide(replace(table, label=label), OFFICIAL)
    with pytest.raises(UsageError, match="no train row of snapshot 4K7QW2 has any feature"):
        divide(replace(table, features={}), OFFICIAL)


def kinds(table: FeatureTable, predicted: Any = None) -> dict[str, list[str]]:
    """Cautions by kind, for a model that is always right unless told otherwise."""
    division = divide(table, OFFICIAL)
    truth, dev = division.labels[division.judge], division.labels[division.choose]
    common = majority(division.labels[division.fit])
    right = judge((dev, dev), (truth, truth if predicted is None else predicted), EMOTIONS)
    floor = judge((dev, dev), (truth, np.full_like(truth, common)), EMOTIONS)
    judged = {"svm": right, "network": right, "majority": floor}
    situation = Situation(
        table=table, protocol=OFFICIAL, division=division, judged=judged, winner="svm"
    )
    found: dict[str, list[str]] = {}
    for caution in cautions(situation):
        found.setdefault(caution.kind, []).append(str(caution))
    return found


def test_a_sound_table_gives_no_caution() -> None:
    assert kinds(make_table((250, 200, 200))) == {}


def test_cautions_name_their_cause() -> None:
    found = kinds(make_table((40, 10, 12), weights="random", without=("video/resnet50",)))
    assert "audio/wav2vec2, text/minilm" in found["random_weights"][0]
    assert "no video/resnet50 features" in found["missing_modality"][0]
    assert "10 dev and 12 test utterances" in found["few_rows"][0]


def test_caution_on_utterances_without_an_emotion() -> None:
    table = replace(make_table((250, 200, 200)), unlabelled=3)
    assert kinds(table) == {"unlabelled": ["3 utterances without an emotion were left out."]}


def test_caution_on_features_of_an_earlier_clip() -> None:
    table = make_table((250, 200, 200))
    voice = table.features["audio/wav2vec2/mean"].copy()
    voice[:3] = np.nan
    features = {**table.features, "audio/wav2vec2/mean": voice}
    stale = replace(table, features=features, missing={"audio/wav2vec2": {"stale": 2, "silent": 1}})
    assert kinds(stale) == {
        "missing_feature": [
            "3 of 650 utterances lack audio/wav2vec2 (stale 2, silent 1, `meldflow extract` renews "
            "what is stale); models do without it there."
        ]
    }
    (alone,) = kinds(stale.only(("audio",)))["missing_feature"]
    assert "stale 2" in alone
    nothing = replace(
        stale, features={**features, "audio/wav2vec2/mean": np.full_like(voice, np.nan)}
    )
    assert "No audio/wav2vec2 features (stale 2" in kinds(nothing)["missing_feature"][0]


def test_caution_on_one_speaker() -> None:
    table = make_table((250, 200, 200))
    alone = replace(table, speaker=np.where(table.split == "train", "Ross", table.speaker))
    assert kinds(alone)["one_speaker"] == [
        "All train utterances have one speaker, Ross: nothing was learned about others."
    ]


def test_cautions_on_values_that_nobody_may_write() -> None:
    table = make_table((250, 200, 200))
    features = {path: values.copy() for path, values in table.features.items()}
    features["text/minilm/embedding"][0, 3] = np.nan
    features["text/minilm/embedding"][1] = np.nan  # all NaN: missing, not spoilt
    features["audio/librosa/stats"][2, 4] = np.nan  # undefined there, as it may be
    features["audio/librosa/stats"][3:5, 4] = np.inf
    assert kinds(replace(table, features=features))["not_finite"] == [
        "2 utterances have values in audio/librosa/stats that are not finite; those count as "
        "average.",
        "1 utterances have values in text/minilm/embedding that are not finite; those count as "
        "average.",
    ]


def test_caution_names_what_failed_and_why() -> None:
    table = make_table((250, 200, 200))
    video = table.features["video/resnet50/features"].copy()
    video[:3] = np.nan
    table = replace(
        table,
        features={**table.features, "video/resnet50/features": video},
        missing={"video/resnet50": {"no_video": 2, "timeout": 1}},
    )
    assert kinds(table)["missing_feature"] == [
        "3 of 650 utterances lack video/resnet50 (no_video 2, timeout 1); models do without it "
        "there."
    ]


def test_cautions_on_partly_missing_features() -> None:
    found = kinds(make_table((250, 200, 200), missing=0.5, without=("audio/librosa",)))
    assert any("No audio/librosa features" in one for one in found["missing_feature"])
    assert any("utterances lack video/resnet50" in one for one in found["missing_feature"])


def test_caution_on_a_modality_absent_from_one_split() -> None:
    table = make_table((250, 200, 200))
    video = table.features["video/resnet50/features"].copy()
    video[table.rows("test")] = np.nan
    found = kinds(replace(table, features={**table.features, "video/resnet50/features": video}))
    assert found["missing_modality"] == ["No video in test: none of its 200 utterances has any."]


def test_cautions_on_emotions_and_texts() -> None:
    table = make_table((250, 200, 200))
    label = table.label.copy()
    label[table.rows("train")[label[table.rows("train")] == "fear"]] = "joy"
    label[table.rows("test")[label[table.rows("test")] == "anger"]] = "joy"
    table = replace(table, label=label, text=np.full(650, "Oh my God!"))
    found = kinds(table)
    assert found["unseen_class"][0].startswith("No train utterance is fear")
    assert found["unseen_class"][1].startswith("No test utterance is anger")
    assert "200 of 200 test texts" in found["repeated_texts"][0]
    assert repeated_texts(table, divide(table, OFFICIAL)) == 200


def test_caution_when_no_better_than_majority() -> None:
    table = make_table((250, 200, 200))
    predicted = np.full(200, EMOTIONS.index("neutral"), dtype=np.intp)
    assert "Not clearly better" in kinds(table, predicted)["not_better_than_majority"][0]
