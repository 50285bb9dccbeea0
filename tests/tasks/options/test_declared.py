"""The file that declares a corpus's extractors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.options import ExtractOptions
from meldflow.tasks.options.declared import as_file, read_declared


def written(folder: Path, text: str) -> list[str]:
    (folder / "extractors.yaml").write_text(text)
    return [str(folder / "extractors.yaml")]


def test_a_file_fills_what_is_declared_and_set(tmp_path: Path) -> None:
    text = """
    audio/mine: {kind: audio/speech, checkpoint: ./model, layers: [6, 9], window_seconds: 20}
    audio/other: {kind: audio/speech, checkpoint: a/b, weights: random}
    text/minilm: {weights: ../minilm}
    audio/librosa:
    """
    assert read_declared(written(tmp_path, text)) == {
        "instances": {
            "audio/mine": f"audio/speech {tmp_path / 'model'}",
            "audio/other": "audio/speech a/b",
            "text/minilm": "text/minilm",
            "audio/librosa": "audio/librosa",
        },
        "weights_of": {"audio/other": "random", "text/minilm": str(tmp_path.parent / "minilm")},
        "parameters": {"audio/mine.layers": "6,9", "audio/mine.window_seconds": "20"},
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("- a", "give NAME: {kind: …, checkpoint: …}"),
        ("audio/x: y", "give NAME: {kind: …, checkpoint: …}"),
        ("a: {b", "cannot be read: while parsing"),
        ("audio/x: {kind: audio/speech}", "audio/x needs both a kind and a checkpoint"),
        ("audio/x: {checkpoint: a/b}", "audio/x needs both a kind and a checkpoint"),
    ],
)
def test_what_is_no_such_file_is_a_line(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_declared(written(tmp_path, text))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match=r"nothing\.yaml: cannot be read"):
        read_declared([str(tmp_path / "nothing.yaml")])


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    declared: dict[str, dict[str, Any]] = {
        "audio/mine": {"kind": "audio/speech", "checkpoint": "a/b", "layers": [6, 9]},
        "audio/librosa": {"f0": "pyin"},
    }
    assert yaml.safe_load(as_file(declared)) == declared
    found = read_declared(written(tmp_path, as_file(declared)))
    assert found["parameters"] == {"audio/mine.layers": "6,9", "audio/librosa.f0": "pyin"}


def test_what_is_chosen_of_a_file_is_all_that_runs() -> None:
    given: dict[str, Any] = {
        "dataset": ".",
        "store": ".",
        "instances": ["audio/a=audio/speech b/c", "text/d=x y"],
    }
    assert list(ExtractOptions.model_validate(given).instances) == ["audio/a", "text/d"]
    given["parameters"] = {"audio/a.layers": "1", "text/d.layers": "2", "audio/librosa.f0": "pyin"}
    given["weights_of"] = {"text/d": "random"}
    some = ExtractOptions.model_validate({**given, "only": ["audio/librosa", "audio/a"]})
    assert some.parameters == {"audio/a.layers": "1", "audio/librosa.f0": "pyin"}
    assert some.weights_of == {}
    assert (some.only, some.instances) == (
        (),
        {"audio/librosa": "audio/librosa", "audio/a": "audio/speech b/c"},
    )
    assert ExtractOptions.model_validate(some.model_dump()) == some
