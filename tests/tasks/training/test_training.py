"""The steps of the flow `train`, and what the command line says of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.utterances import SENTIMENT
from meldflow.models.training.fit import fit_unit
from meldflow.models.training.run import Trained
from meldflow.storage import open_store
from meldflow.tasks.options import TrainOptions
from meldflow.tasks.training.steps import TrainReport, check_training, plan_training, report
from meldflow.tasks.training.table import load_table
from tests.models.tables import make_table
from tests.storage.corpus import corpus, extract, utterance, words_spec


def options(folder: Path, **more: Any) -> TrainOptions:
    return TrainOptions(store="s", report=folder / "report", **({"epochs": 1} | more))


def fit(table: FeatureTable, given: TrainOptions) -> Trained:
    """What the flow concludes, from fits in this process."""
    planned = plan_training(table, given)
    return planned.conclude(
        {
            unit: fit_unit(table.only(unit.modalities), unit, planned.config, planned.rules)
            for unit in planned.units
        }
    )


def minilm() -> FeatureSpec:
    """A text's feature under the name that training reads."""
    return replace(words_spec(), name="text/minilm")


def test_what_is_printed_names_the_figures_and_their_spread(tmp_path: Path) -> None:
    given = options(tmp_path, seeds=2, modalities=("text",))
    trained = fit(make_table((60, 20, 20)).only(("text",)), given)
    page = tmp_path / "index.html"
    found = TrainReport(result=trained.result, page=page, amiss=("", "not tagged"))
    printed = found.to_json()
    json.dumps(printed, allow_nan=False)
    assert (printed["protocol"], printed["network"]) == ("official", "fusion")
    assert printed["seeds"] == [0, 1]
    for part in ("dev", "test"):
        assert set(printed[part]) == {"accuracy", "weighted_f1", "macro_f1"}
        assert set(printed[part]["accuracy"]) == {"mean", "sd"}
    each = [one.judged[printed["model"]].test.weighted_f1 for one in trained.result.seeds]
    assert printed["test"]["weighted_f1"]["mean"] == pytest.approx(np.mean(each))
    assert list(printed["ablations"]) == ["SVM alone: text"]
    assert printed["beside"] == {}
    assert printed["warnings"][-1] == "not tagged"


def test_the_leak_is_printed_with_what_the_same_models_reach_on_test(tmp_path: Path) -> None:
    given = options(tmp_path, seeds=1, protocol="leaky-80-20", ablations=False)
    assert given.reads == "reference"
    trained = fit(make_table((60, 20, 20)), given)
    printed = TrainReport(result=trained.result, page=tmp_path / "index.html").to_json()
    assert printed["dev"] == {}
    assert set(printed["beside"]) == {"test"}
    page = report(trained, given)
    assert page == tmp_path / "report" / "leaky-80-20" / "index.html"
    assert (page.parent / "model" / "config.json").is_file()
    assert not (page.parent / "checkpoints").exists()


def test_the_causal_variant_is_asked_for_by_name(tmp_path: Path) -> None:
    given = options(tmp_path, seeds=1, causal=True, ablations=False)
    result = fit(make_table((40, 10, 10)), given).result
    assert isinstance(result.config, FusionConfig)
    assert result.config.causal
    assert "--causal --no-ablations" in result.command


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("in the way")
    with pytest.raises(UsageError, match="report: cannot be written"):
        check_training(options(tmp_path))


def test_the_table_holds_the_labels_of_the_target_and_leaves_out_who_has_none(
    tmp_path: Path,
) -> None:
    some = [
        replace(one, sentiment=("positive", "negative", "")[number % 3], emotion="joy")
        for number, one in enumerate(corpus(9))
    ]
    extract(tmp_path / "store", some, [words_spec()])
    table = load_table(open_store(str(tmp_path / "store")), "fusion", ("text",), "sentiment")
    assert table.target is SENTIMENT
    assert table.label.tolist() == ["positive", "negative"] * 3
    assert table.unlabelled == 3
    assert table.seconds > 0


def test_a_store_without_any_label_is_one_line(tmp_path: Path) -> None:
    extract(tmp_path / "store", [replace(one, emotion="") for one in corpus(6)], [words_spec()])
    with pytest.raises(UsageError, match="has an emotion to learn from"):
        load_table(open_store(str(tmp_path / "store")), "fusion", ("text",))


def test_what_is_of_an_earlier_text_is_left_out_and_named(tmp_path: Path) -> None:
    """After a run of another extractor alone; its place is that of a missing feature."""
    extract(tmp_path / "store", corpus(9), [minilm()])
    after = [utterance(0, text="other"), *corpus(9)[1:]]
    extract(tmp_path / "store", after, [words_spec()])
    table = load_table(open_store(str(tmp_path / "store")), "fusion", ("text",))
    assert table.present("text/minilm/embedding").tolist() == [False] + [True] * 8
    assert table.missing == {"text/minilm": {"stale": 1}}
