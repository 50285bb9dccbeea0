"""What is declared in ``tasks.options`` arrives: from the command line, the form, the defaults."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import sys
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from prefect.flows import Flow, load_flow_from_entrypoint
from pydantic import ValidationError

from meldflow import storage
from meldflow.flows.cli import features, main, training
from meldflow.flows.cli.parameters import options_of, spread
from meldflow.flows.cli.screen import results
from meldflow.flows.cli.serve import DEFAULTS
from meldflow.flows.serving import changes, server
from meldflow.flows.serving.deployments import _form, load_specs
from meldflow.storage import history
from meldflow.tasks import dataset
from meldflow.tasks.audit import stock
from meldflow.tasks.options import (
    AuditOptions,
    Extraction,
    ExtractOptions,
    MaintainOptions,
    Options,
    PollOptions,
    Training,
    TrainOptions,
)
from meldflow.tasks.training import steps
from tests.paths import ROOT

HERE = Path.cwd()

EXTRACTION: dict[str, tuple[str, Any]] = {
    "store": ("--store other", str(HERE / "other")),
    "weights": ("--weights random", "random"),
    "weights_of": ("--weights text/minilm=/a=b", {"text/minilm": "/a=b"}),
    "parameters": ("--set audio/librosa.f0=pyin", {"audio/librosa.f0": "pyin"}),
    "backend": ("--backend torch", "torch"),
    "precision": ("--precision bf16", "bf16"),
    "decoder": ("--decoder nvdec", "nvdec"),
    "candidates": ("--candidates reference", "reference"),
    "retry_failed": ("--retry-failed timeout crashed", ("timeout", "crashed")),
    "max_failure_rate": ("--max-failure-rate 0.5", 0.5),
    "fixes": ("--no-fixes", False),
    "strict": ("--strict", True),
    "max_seconds": ("--max-seconds 60", 60.0),
    "clip_timeout": ("--clip-timeout 2.5", 2.5),
    "partition_timeout": ("--partition-timeout 90", 90.0),
    "wait": ("--wait 4", 4.0),
    "partition": ("--partition 32", 32),
    "batch": ("--batch 4", 4),
    "cluster": ("--cluster c.yaml", str(HERE / "c.yaml")),
}
CHOSEN = {"only": ("--only text/minilm --only audio/librosa", ("text/minilm", "audio/librosa"))}
DECLARED: dict[str, tuple[str, Any]] = {
    "instances": (
        f"--extractors-file {ROOT / 'tests/models/extractors.yaml'} --only audio/mine "
        "--only audio/librosa",
        {"audio/mine": "audio/speech a/b", "audio/librosa": "audio/librosa"},
    ),
    "parameters": (
        "--set audio/librosa.f0=pyin",
        {"audio/mine.layers": "6,9", "audio/librosa.f0": "pyin", "audio/librosa.fmin": "70.0"},
    ),
}
"""What is typed wins over the file, and what is chosen of it is all that is declared."""
TRAINED = {"then_train": ("--then-train", True)}
DATASET = {"dataset": ("data", HERE / "data")}
CLIPS = {"clips": ("--clips data", HERE / "data")}
TRAINING: dict[str, tuple[str, Any]] = {
    "report": ("--report there", Path("there")),
    "protocol": ("--protocol leaky-80-20", "leaky-80-20"),
    "network": ("--network reference", "reference"),
    "modalities": ("--modalities text,audio", ("text", "audio")),
    "extractors": ("--extractors text/a,audio/b", ("text/a", "audio/b")),
    "target": ("--target sentiment", "sentiment"),
    "seed": ("--seed 3", 3),
    "seeds": ("--seeds 2", 2),
    "ablations": ("--no-ablations", False),
    "epochs": ("--epochs 7", 7),
    "tracking": ("--tracking none", "none"),
    "causal": ("--causal", True),
    "device": ("--device auto", "auto"),
    "precision": ("--training-precision bf16-mixed", "bf16-mixed"),
}
SNAPSHOT = {
    "store": ("place", str(HERE / "place")),
    "snapshot": ("--ref paper-1", "paper-1"),
    "cluster": ("--cluster c.yaml", str(HERE / "c.yaml")),
}
AUDIT = {
    "dataset": ("data", HERE / "data"),
    "annotations_only": ("--annotations-only", True),
    "fixes": ("--no-fixes", False),
}
MAINTAIN = {
    "store": ("place", str(HERE / "place")),
    "older_than_days": ("--older-than 7", 7.0),
    "dry_run": ("--dry-run", True),
}
POLL = {"dataset": ("data", HERE / "data"), "store": ("--store s3://a/place", "s3://a/place")}

Line = dict[str, tuple[str, Any]]
LINES: list[tuple[str, list[tuple[type[Options], Line]]]] = [
    ("extract", [(ExtractOptions, EXTRACTION | DECLARED | TRAINED | DATASET)]),
    ("extract", [(ExtractOptions, EXTRACTION | CHOSEN | TRAINED | CLIPS)]),
    ("pipeline", [(Extraction, EXTRACTION | DECLARED | DATASET), (Training, TRAINING)]),
    ("train", [(TrainOptions, TRAINING | SNAPSHOT)]),
    ("audit", [(AuditOptions, AUDIT)]),
    ("maintain", [(MaintainOptions, MAINTAIN)]),
    ("notify", [(PollOptions, POLL)]),
]


FLOWS: dict[str, Flow[..., Any]] = {
    one.name: load_flow_from_entrypoint(one.entrypoint) for one in load_specs()
}
"""Loaded before anything is replaced, so that nothing which is lasts in a module."""


@pytest.fixture
def arrived(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What reaches the flow, or what does its work; nothing runs, and nothing has to be there."""
    got: list[Any] = []

    def take(*values: Any, **named: Any) -> None:
        got.extend([*values, *named.values()])
        raise SystemExit(0)

    def nothing(*_: Any) -> str:
        return ""

    monkeypatch.setattr(results, "prefect", contextlib.nullcontext)
    monkeypatch.setattr(server, "outcome", lambda _, *options: take(*options))
    monkeypatch.setattr(server, "connected", contextlib.nullcontext)
    monkeypatch.setattr(changes, "tell_changed", lambda _, *named: take(*named))
    for place, name in (
        (features, "check_before_start"),
        (training, "check_before_start"),
        (steps, "check_training"),
        (storage, "open_store"),
        (dataset, "check_source"),
        (changes, "check_reaction"),
    ):
        monkeypatch.setattr(place, name, nothing)
    for work, name in (
        (stock, "take_stock"),
        (history, "maintain_store"),
    ):
        monkeypatch.setattr(work, name, take)
    return got


@pytest.mark.parametrize(("command", "typed"), LINES, ids=[name for name, _ in LINES])
def test_every_field_arrives_from_the_command_line(
    command: str,
    typed: list[tuple[type[Options], Line]],
    arrived: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words = [shlex.split(said) for _, line in typed for said, _ in line.values()]
    monkeypatch.setattr(sys, "argv", ["meldflow", command, *itertools.chain(*words)])
    with pytest.raises(SystemExit) as ended:
        main.main()
    assert ended.value.code == 0
    for model, line in typed:
        either = {"instances"} if "only" in line else {"only"}
        assert set(model.model_fields) - set(line) - either in ({"dataset"}, {"clips"}, set())
        of_model = [one for one in arrived if isinstance(one, model)]
        for field, (said, value) in line.items():
            # The work of `maintain` and of `notify` takes values, that of the others options.
            got = [getattr(one, field) for one in of_model] or arrived
            assert value in got, f"{said} does not arrive"
            assert value != model.model_fields[field].get_default(call_default_factory=True)


@pytest.mark.parametrize("deployment", load_specs(), ids=lambda one: one.name)
def test_every_field_is_in_the_form_with_its_title(deployment: Any) -> None:
    flow = FLOWS[deployment.name]
    hints = get_type_hints(flow.fn).items()
    taken = {name: kind for name, kind in hints if name != "return"}
    assert taken
    form = _form(flow)
    for model in taken.values():
        shown = form["definitions"][model.__name__]["properties"]
        assert {name: one["title"] for name, one in shown.items()} == {
            name: one.title for name, one in model.model_fields.items()
        }
        assert all(one["description"] for one in shown.values())


def test_the_form_lists_the_parameters_of_extractors() -> None:
    form = _form(FLOWS["extract"])
    said = form["definitions"]["ExtractOptions"]["properties"]["parameters"]["description"]
    assert "audio/librosa.f0=autocorrelation (autocorrelation or pyin)" in said


def test_defaults_of_deployments_are_values_of_the_form(tmp_path: Path) -> None:
    typed = {
        "dataset": tmp_path,
        "store": "s3://bucket/store",
        "extractors_file": None,
        "only": ["text/minilm"],
        "weights": ["random", "text/minilm=pretrained"],
        "set": ["audio/librosa.f0=pyin"],
        "report": Path("report"),
    }
    defaults = DEFAULTS.take(typed)
    extraction = ExtractOptions.model_validate(defaults.of(FLOWS["pipeline"].fn)["extraction"])
    assert extraction.parameters == {"audio/librosa.f0": "pyin"}
    assert extraction.weights_of == {"text/minilm": "pretrained"}
    assert (
        defaults.of(FLOWS["pipeline"].fn)["extraction"]
        == defaults.of(FLOWS["extract"].fn)["options"]
    )
    assert defaults.of(FLOWS["train"].fn)["options"] == {
        "report": str(Path("report").absolute()),
        "store": "s3://bucket/store",
    }
    file = [str(ROOT / "tests/models/extractors.yaml")]
    declared = DEFAULTS.take({**typed, "extractors_file": file, "only": ["audio/mine"]})
    form = declared.of(FLOWS["extract"].fn)["options"]
    assert form["instances"] == ["audio/mine=audio/speech a/b"]
    assert form["only"] == []
    assert ExtractOptions.model_validate(form).parameters["audio/mine.layers"] == "6,9"
    assert DEFAULTS.take(dict.fromkeys(typed)).of(FLOWS["extract"].fn) == {}


def test_options_of_one_name_have_to_be_one() -> None:
    def command(a: ExtractOptions, b: MaintainOptions) -> None:
        pass

    with pytest.raises(TypeError, match="two different parameters called store"):
        spread(command)


def test_the_help_says_type_unit_bounds_and_choices() -> None:
    shown = {
        one.name: one.parameter(None).annotation.__metadata__[0] for one in options_of(TrainOptions)
    }
    assert shown["device"].metavar == "cpu|cuda|auto"
    assert shown["seeds"].help.endswith("From 1 to 100.")
    (partition,) = [one for one in options_of(ExtractOptions) if one.name == "partition"]
    assert partition.parameter(None).annotation.__metadata__[0].metavar == "UTTERANCES"


def test_a_form_offers_nothing_that_its_flow_ignores() -> None:
    offered = _form(FLOWS["pipeline"])["definitions"]["Extraction"]["properties"]
    assert set(ExtractOptions.model_fields) - set(offered) == {"clips", "then_train"}
    with pytest.raises(ValidationError, match="clips"):
        Extraction.model_validate({"clips": "data", "store": "store"})
    with pytest.raises(ValidationError, match="dataset\n  Field required"):
        Extraction.model_validate({"store": "store"})
