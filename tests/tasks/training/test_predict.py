"""Clips classified by trained models, on real features of a small store."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from meldflow.models.schema.errors import MeldflowError, RunError, UsageError
from meldflow.models.schema.media import Reason
from meldflow.models.training.saved import load_model
from meldflow.storage import open_store
from meldflow.tasks.training.predict.predictor import load_predictor
from meldflow.tasks.training.predict.records import Given
from meldflow.tasks.training.table import load_table
from tests.tasks.training.trained import make_store, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, and models: ``both`` (sound and text), ``text``, ``leaky``."""
    path = tmp_path_factory.mktemp("predict")
    store = make_store(path)
    train(store, path / "both")
    train(store, path / "text", modalities=["text"])
    train(store, path / "leaky", network="reference", protocol="leaky-80-20", target="sentiment")
    (path / "broken.mp4").write_bytes(b"no clip")
    return path


@pytest.mark.parametrize(("report", "network"), [("both", "fusion"), ("leaky", "reference")])
def test_a_clip_of_the_store_is_classified_as_its_row_is(
    folder: Path, report: str, network: str
) -> None:
    model = load_model(folder / report)
    target = model.described["target"]
    table = load_table(open_store(str(folder / "store")), network, ("audio", "text"), target)
    row = table.ids().index("test/dia1_utt1")
    alone = replace(table, dialogue=np.arange(len(table)))
    expected = {name: said[row] for name, said in model.probabilities(alone).items()}
    given = Given(
        clip=folder / "clips" / "test4.mp4",
        text=str(table.text[row]),
        speaker=str(table.speaker[row]),
    )
    found = load_predictor(folder / report).predict(given)
    assert found.missing == {}
    assert found.label == model.classes[int(expected[model.winner].argmax())]
    for name, probabilities in found.by.items():
        assert tuple(probabilities) == model.classes
        assert list(probabilities.values()) == pytest.approx(expected[name].tolist(), abs=1e-3)
        assert sum(probabilities.values()) == pytest.approx(1)


def test_extraction_with_other_options_is_repeated_with_them(tmp_path: Path) -> None:
    store = make_store(tmp_path, strict=True)
    train(store, tmp_path, modalities=["audio"])
    found = load_predictor(tmp_path).predict(Given(clip=tmp_path / "clips" / "dev0.mp4"))
    assert found.missing == {}
    described = json.loads((tmp_path / "model" / "config.json").read_text())
    assert described["extractors"]["audio/librosa"]["strict"] is True


def test_a_model_of_text_needs_no_clip(folder: Path) -> None:
    predictor = load_predictor(folder / "text")
    found = predictor.predict(Given(text="Oh my God!"))
    assert (found.clip, found.missing) == ("", {})
    beside = predictor.predict(Given(clip=folder / "broken.mp4", text="Oh my God!"))
    assert beside.by == found.by
    assert any("not looked at" in note for note in beside.notes)
    with pytest.raises(UsageError, match="knows text alone: give its words"):
        predictor.predict(Given(clip=folder / "broken.mp4"))


def test_what_is_missing_is_told_and_done_without(folder: Path) -> None:
    predictor = load_predictor(folder / "both" / "model")
    words = predictor.predict(Given(text="Oh my God!"))
    assert words.missing["audio/librosa"].reason is Reason.MISSING_FILE
    broken = predictor.predict(Given(clip=folder / "broken.mp4", text="Oh my God!"))
    assert broken.missing["audio/librosa"].reason is Reason.UNREADABLE
    assert broken.by == words.by
    assert any(note.startswith("Without audio/librosa: unreadable") for note in broken.notes)
    sound = predictor.predict(Given(clip=folder / "clips" / "dev0.mp4"))
    assert sound.missing["text/minilm"].reason is Reason.NO_TEXT
    with pytest.raises(RunError, match=r"nothing to classify: audio/librosa unreadable .*no_text"):
        predictor.predict(Given(clip=folder / "broken.mp4"))


def test_notes_tell_what_to_think_of_it(folder: Path) -> None:
    given = Given(clip=folder / "clips" / "dev0.mp4", text="Hey.", speaker="Gunther")
    fusion = " ".join(load_predictor(folder / "both").predict(given).notes)
    assert "this one alone" in fusion
    assert "does not know Gunther by name; it knows Joey, Monica" in fusion
    leaky = " ".join(load_predictor(folder / "leaky").predict(given).notes)
    assert "no result" in leaky
    assert "trained without audio/wav2vec2:" in leaky
    assert "does not know speakers" in leaky


@pytest.mark.parametrize(
    ("weights", "says"),
    [
        ({"text/minilm": "random"}, "+random-0, with other weights; name the right ones"),
        ({"text/minilm": "/no/such"}, "/no/such"),
        ({"text/minilmm": "random"}, "does not use text/minilmm; it uses audio/librosa, text"),
    ],
)
def test_other_weights_are_refused(folder: Path, weights: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError) as raised:
        load_predictor(folder / "both", weights_of=weights)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def _changed(**values: Any) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        described = json.loads((model / "config.json").read_text())
        (model / "config.json").write_text(json.dumps(described | values))

    return change


def _without(name: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        described = json.loads((model / "config.json").read_text())
        del described[name]
        (model / "config.json").write_text(json.dumps(described))

    return change


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "no model": (lambda model: shutil.rmtree(model), "no model in"),
    "half a file": (
        lambda model: (model / "config.json").write_text('{"architecture": "fus'),
        "cannot be read",
    ),
    "not a record": (lambda model: (model / "config.json").write_text("[]"), "cannot be read"),
    "no weights": (lambda model: (model / "svm.safetensors").unlink(), "cannot be read"),
    "weights cut": (
        lambda model: (model / "network.safetensors").write_bytes(b"\0" * 40),
        "cannot be read",
    ),
    "other network": (_changed(architecture="gpt"), "'gpt' is not there"),
    "no keys": (_without("keys"), "'keys' is not there"),
    "no config": (_changed(config=None), "cannot be read"),
    "odd winner": (_changed(winner="nobody"), "winner is 'nobody'"),
    "odd target": (_changed(target="age"), "'age' is not there"),
    "old version": (
        _changed(keys={"audio/librosa": "audio/librosa@0#12+none", "text/minilm": "x"}),
        "audio/librosa: the model was trained on audio/librosa@0#12+none, here it would be",
    ),
    "own weights": (
        _changed(weights={"audio/librosa": "none", "text/minilm": "folder"}),
        "name them: --weights text/minilm=PATH",
    ),
    "other parameter": (
        _changed(extractors={"audio/librosa": {"f0": "pyin"}}),
        "other parameters of the extractor",
    ),
    "bad parameter": (_changed(extractors={"audio/librosa": {"f0": "ear"}}), "not 'ear'"),
}


@pytest.mark.parametrize(("spoil", "says"), DAMAGES.values(), ids=DAMAGES)
def test_a_model_that_cannot_be_used_is_one_clear_line(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], object], says: str
) -> None:
    shutil.copytree(folder / "both", tmp_path / "both")
    spoil(tmp_path / "both" / "model")
    with pytest.raises(MeldflowError) as raised:
        load_predictor(tmp_path / "both").predict(Given(text="Hey."))
    assert isinstance(raised.value, UsageError)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)
