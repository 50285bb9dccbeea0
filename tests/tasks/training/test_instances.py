"""Encoders that a run declares: in a store, out of it as a file, in trainings and predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from meldflow.models.extractors import registry
from meldflow.models.schema.errors import UsageError
from meldflow.storage import open_store
from meldflow.tasks.options import TrainOptions
from meldflow.tasks.options.declared import read_declared
from meldflow.tasks.training.predict.predictor import load_predictor
from meldflow.tasks.training.predict.records import Given
from meldflow.tasks.training.table import load_table
from tests.flows import command
from tests.models import checkpoints
from tests.tasks.training.trained import extract, train, utterances

FILE = """
audio/own: {{kind: audio/speech, checkpoint: {folder}/wavlm, layers: [1, 2]}}
audio/other: {{kind: audio/whisper, checkpoint: {folder}/whisper, padded: false}}
audio/librosa: {{fmin: 70.0}}
text/own: {{kind: text/encoder, checkpoint: {folder}/bert, pooling: cls}}
text/untrained: {{kind: text/encoder, checkpoint: {folder}/roberta, weights: random}}
text/minilm:
"""


def built(file: Path) -> tuple[Any, ...]:
    said = read_declared([str(file)])
    parameters = registry.read_parameters(said["parameters"], said["instances"])
    return registry.build(
        None, said["weights_of"], parameters=parameters, instances=said["instances"]
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of six extractors, of which a file declares four."""
    path = tmp_path_factory.mktemp("instances")
    for name, make in (
        ("wavlm", checkpoints.speech),
        ("whisper", checkpoints.whisper),
        ("bert", checkpoints.text),
        ("roberta", checkpoints.text),
    ):
        (path / name).mkdir()
        make(path / name, name)
    (path / "clips").mkdir()
    (path / "extractors.yaml").write_text(FILE.format(folder=path))
    found = tuple(utterances(path))
    extract(path / "store", found, [one.setup() for one in built(path / "extractors.yaml")])
    return path


def test_the_store_alone_says_how_to_repeat_it(folder: Path, tmp_path: Path) -> None:
    text = command.here("extractors", "--of", folder / "store", cwd=tmp_path).stdout
    assert text.startswith("# snapshot ")
    assert "--backend torch" in text.partition("\n")[0]
    declared = yaml.safe_load(text)
    assert declared["audio/own"] == {
        "kind": "audio/speech",
        "checkpoint": str(folder / "wavlm"),
        "layers": [1, 2],
        "window_seconds": 15.0,
        "overlap_seconds": 2.6,
    }
    assert declared["text/untrained"]["weights"] == "random"
    (tmp_path / "again.yaml").write_text(text)
    specs = [one.spec for one in built(tmp_path / "again.yaml")]
    snapshot = open_store(str(folder / "store"))
    assert {one.name: one.key for one in specs} == {
        name: snapshot.attributes(name)["key"] for name in snapshot.extractors
    }


SUBSETS: list[tuple[Sequence[str], dict[str, tuple[str, ...]]]] = [
    (["text/own"], {"text": ("text/own/layers",)}),
    (
        ["text/own", "text/minilm", "audio/other", "audio/own"],
        {
            "text": ("text/own/layers", "text/minilm/layers"),
            "audio": ("audio/other/frames", "audio/own/frames"),
        },
    ),
]


@pytest.mark.parametrize(("names", "arrays"), SUBSETS)
def test_a_training_reads_what_is_named(
    folder: Path, names: Sequence[str], arrays: dict[str, Any], tmp_path: Path
) -> None:
    options = TrainOptions.model_validate({"store": str(folder / "store"), "extractors": names})
    assert set(options.modalities) == set(arrays)
    table = load_table(
        open_store(options.store), options.reads, options.modalities, extractors=options.extractors
    )
    assert table.arrays == arrays
    train(Path(options.store), tmp_path, modalities=options.modalities, extractors=names)
    found = load_predictor(tmp_path).predict(
        Given(clip=folder / "clips" / "test4.mp4", text="That is great news. 3", speaker="Joey")
    )
    assert found.missing == {}
    assert sum(found.by["network"].values()) == pytest.approx(1)


@pytest.mark.parametrize(
    ("network", "names", "says"),
    [
        ("fusion", ["text/gone"], "no text/gone in the store, which has audio/librosa, audio/oth"),
        ("reference", ["text/own"], "the reference network reads the extractors of its paper"),
    ],
)
def test_what_cannot_be_read_is_a_line(
    folder: Path, network: str, names: Sequence[str], says: str
) -> None:
    snapshot = open_store(str(folder / "store"))
    with pytest.raises(UsageError) as caught:
        load_table(snapshot, network, ("audio", "text"), extractors=names)
    assert says in str(caught.value)


def test_an_extractor_of_a_modality_that_is_left_out() -> None:
    given = {"store": "s", "extractors": ["audio/x"], "modalities": ["text"]}
    with pytest.raises(ValueError, match="extractors of audio, which is left out"):
        TrainOptions.model_validate(given)
