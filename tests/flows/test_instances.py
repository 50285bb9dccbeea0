"""Six encoders that a file declares, of three modalities, through a cluster into a store."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from meldflow.storage import open_store
from tests.flows import command
from tests.flows.servers import Workers
from tests.models import checkpoints

FILE = """
audio/mine: {kind: audio/speech, checkpoint: ./wavlm, layers: [1, 2]}
audio/heard: {kind: audio/whisper, checkpoint: ./whisper, padded: false}
video/mine: {kind: video/image, checkpoint: ./clip}
video/other: {kind: video/image, checkpoint: ./dinov2, layers: [2]}
text/mine: {kind: text/encoder, checkpoint: ./roberta, pooling: cls}
text/untrained: {kind: text/encoder, checkpoint: ./bert, weights: random}
"""


@pytest.mark.slow  # a minute: six networks are loaded by workers, and looked for four times
def test_a_file_of_extractors_goes_through_a_run_and_comes_back(
    api: str, demo: Path, workers: Workers, tmp_path: Path
) -> None:
    for name, make in (
        ("wavlm", checkpoints.speech),
        ("whisper", checkpoints.whisper),
        ("clip", checkpoints.images),
        ("dinov2", checkpoints.images),
        ("roberta", checkpoints.text),
        ("bert", checkpoints.text),
    ):
        make(tmp_path / name, name)
    (tmp_path / "extractors.yaml").write_text(FILE)
    on = ("--store", "store", "--cluster", workers.profile)
    line = ("extract", demo, *on, "--extractors-file", "extractors.yaml", "--json")
    report = json.loads(command.run(*line, cwd=tmp_path, api=api).stdout)
    snapshot = open_store(str(tmp_path / "store"))
    assert set(report["extracted"]) == set(snapshot.extractors) == set(found(FILE))
    assert set(report["extracted"].values()) == {len(snapshot.rows())}
    assert report["random_weights"] == ["text/untrained"]
    (run,) = snapshot.runs
    assert run.origin["options"]["instances"]["audio/heard"] == (
        f"audio/whisper {tmp_path / 'whisper'}"
    )
    said = command.here("extractors", "--of", "store", cwd=tmp_path).stdout
    (tmp_path / "again.yaml").write_text(said)
    again = ("plan", demo, *on, "--extractors-file", "again.yaml", "--json")
    assert json.loads(command.here(*again, cwd=tmp_path).stdout)["utterances"] == 0
    some = (*again[:-1], "--only", "video/other", "--set", "video/other.layers=1", "--json")
    stale = json.loads(command.here(*some, cwd=tmp_path).stdout)
    assert list(stale["extractors"]) == ["video/other"]


def found(file: str) -> list[str]:
    """The names in it."""
    return [line.partition(":")[0] for line in file.split("\n") if line]
