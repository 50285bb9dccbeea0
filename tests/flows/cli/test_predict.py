"""`meldflow predict` as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.flows import command
from tests.tasks.training.trained import make_store, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("predict")
    store = make_store(path)
    train(store, path / "report")
    train(store, path / "text", modalities=["text"])
    (path / "broken.mp4").write_bytes(b"no clip")
    return path


def test_json_is_all_that_goes_to_standard_output(folder: Path) -> None:
    arguments = ("clips/test0.mp4", "--text", "Oh my God!", "--speaker", "Joey", "--json")
    shown = json.loads(command.run("predict", *arguments, cwd=folder).stdout)
    assert set(shown) == {
        *("clip", "text", "label", "probabilities", "classifier", "by", "missing", "model"),
        "notes",
    }
    assert shown["clip"] == "clips/test0.mp4"
    assert shown["probabilities"] == shown["by"][shown["classifier"]]
    assert sum(shown["probabilities"].values()) == pytest.approx(1)
    assert max(shown["probabilities"], key=shown["probabilities"].get) == shown["label"]
    assert shown["missing"] == {}


def test_the_screen_shows_the_classes_with_bars_and_what_was_missing(folder: Path) -> None:
    done = command.here("predict", "broken.mp4", "--text", "Oh [b]!", cwd=folder)
    for part in ("█", "neutral", "Without audio/librosa: unreadable", "model report", "svm"):
        assert part in done.stdout
    assert "Traceback" not in done.stderr


def test_words_alone_will_do_for_a_model_of_text(folder: Path) -> None:
    done = command.here("predict", "--text", "Hey.", "--model", "text", "--json", cwd=folder)
    assert json.loads(done.stdout)["clip"] == ""


@pytest.mark.parametrize(
    ("code", "arguments", "says"),
    [
        (2, (), "name a CLIP"),
        (2, ("--text", " "), "--text: holds no words"),
        (2, ("none.mp4",), "no clip at none.mp4"),
        (2, ("broken.mp4", "--weights", "random", "--weights", "pretrained"), "both for all"),
        (1, ("broken.mp4",), "nothing to classify: audio/librosa unreadable"),
    ],
)
def test_mistakes_end_in_one_line(
    folder: Path, code: int, arguments: tuple[str, ...], says: str
) -> None:
    done = command.here("predict", *arguments, cwd=folder, code=code)
    assert done.stdout == ""
    assert done.stderr.startswith("meldflow: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
