"""What a form or an event may name, where the server says what runs may read and write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meldflow.flows.extract import extract
from meldflow.flows.serving.defaults import make_defaults
from meldflow.flows.serving.site.server import missing
from meldflow.models.schema.errors import UsageError
from meldflow.tasks import options
from meldflow.tasks.options import Cli, ExtractOptions, Options, Training, TrainOptions
from meldflow.tasks.options.allowed import PLACES, VARIABLE, refusal
from meldflow.tasks.training.mlflow_run import NOWHERE


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that is allowed, beside a bucket."""
    (found := tmp_path / "allowed").mkdir()
    (tmp_path / "other").mkdir()
    (found / "link").symlink_to(tmp_path / "other")
    monkeypatch.setenv(VARIABLE, f"{found},s3://bucket/ours")
    monkeypatch.chdir(found)
    return found


@pytest.mark.parametrize(
    ("place", "may"),
    [
        ("{root}", True),
        ("{root}/a/b", True),
        ("relative", True),
        ("s3://bucket/ours", True),
        ("s3://bucket/ours/store", True),
        ("{root}-beside", False),
        ("{root}/../other", False),
        ("../other", False),
        ("link/store", False),
        ("~", False),
        ("/etc/passwd", False),
        ("s3://bucket/ours-not", False),
        ("s3://bucket/ours/../theirs", False),
        ("s3://other/store", False),
        ("file:/etc", False),
        ("sqlite:////etc/mlflow.db", False),
    ],
)
def test_what_lies_within(root: Path, place: str, may: bool) -> None:
    assert (refusal(place.format(root=root)) == "") is may


OUTSIDE: dict[str, Any] = {
    "dataset": "/elsewhere",
    "clips": "/elsewhere",
    "store": "/elsewhere",
    "cluster": "/elsewhere/slurm.yaml",
    "weights": "/elsewhere/model",
    "weights_of": ["text/minilm=/elsewhere/model"],
    "instances": ["audio/mine=audio/speech /elsewhere/model"],
}


@pytest.mark.parametrize("option", OUTSIDE)
def test_no_option_of_an_extraction_leads_outside(option: str) -> None:
    source = {} if option == "clips" else {"dataset": "data"}
    inside = {"store": "store", "weights_of": ["text/minilm=random"], **source}
    inside["instances"] = ["audio/mine=audio/speech microsoft/wavlm-base-plus"]
    given = {**inside, option: OUTSIDE[option]}
    # As Prefect reads what a form or an event gives.
    assert extract.validate_parameters({"options": {**inside, "dataset": "data"}})
    with pytest.raises(UsageError) as refused:
        extract.validate_parameters({"options": given})
    assert f"outside of what {VARIABLE} allows here" in str(refused.value)
    assert str(refused.value).startswith(option.replace("_", " "))


@pytest.mark.parametrize("option", ["report", "tracking"])
def test_nor_of_a_training(option: str) -> None:
    Training(report=Path("report"), tracking=NOWHERE)
    with pytest.raises(UsageError, match=f"{option} /elsewhere"):
        Training.model_validate({option: "/elsewhere"})


def test_every_option_that_is_a_path_is_one_of_them() -> None:
    models = [one for one in vars(options).values() if options.is_options(one)]
    assert {ExtractOptions, TrainOptions} < set(models)
    for model in models:
        for name, field in model.model_fields.items():
            is_path = "Path" in str(field.annotation)
            if is_path or any(isinstance(one, Cli) and one.path for one in field.metadata):
                assert name in PLACES
    assert set(PLACES["weights"]) == set(options.WEIGHTS)
    assert PLACES["tracking"] == (NOWHERE,)


def test_a_form_does_not_say_what_is_there(root: Path) -> None:
    line = {"title": "Data set"}
    (refused,) = missing(None, True, "/etc/passwd", line)
    assert "outside of what" in str(refused)
    (lacking,) = missing(None, True, str(root / "nothing"), line)
    assert "does not exist" in str(lacking)
    assert not list(missing(None, True, str(root), line))


def test_defaults_are_read_where_nobody_names_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert make_defaults({"weights_of": {"text/minilm": "random"}}).values


def test_without_roots_everything_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE)
    assert Options.model_validate({}) == Options()
    assert ExtractOptions.model_validate({"dataset": "/elsewhere", "store": "/elsewhere"})
