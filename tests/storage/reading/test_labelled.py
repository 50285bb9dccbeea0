from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.storage import open_store
from meldflow.storage.format.layout import SHARD_FRAMES
from tests.storage.corpus import corpus, expected, extract, utterance, voice_spec
from tests.storage.recorded import recorded


def test_the_tree_holds_every_extractor_with_the_labels_of_its_rows(tmp_path: Path) -> None:
    utterances = [*corpus(5), utterance(5, emotion="joy")]
    extract(tmp_path / "s", utterances)
    extract(tmp_path / "s", utterances[1:])
    snapshot = open_store(str(tmp_path / "s"))
    tree = snapshot.tree()
    assert tree.attrs == {"store": str(tmp_path / "s"), "snapshot": snapshot.id}
    assert {node.path for node in tree.leaves} == {"/audio/voice", "/text/words"}
    for node in tree.leaves:
        assert node["split"].to_numpy().tolist() == [one.split for one in utterances]
        assert node["dialogue"].to_numpy().tolist() == [one.dialogue for one in utterances]
        assert node["utterance"].to_numpy().tolist() == [one.utterance for one in utterances]
        assert node["speaker"].to_numpy().tolist() == ["Ben’s Date"] * 6
        assert node["text"].to_numpy().tolist() == [one.text for one in utterances]
        assert node["emotion"].to_numpy().tolist() == ["neutral"] * 5 + ["joy"]
        assert node["active"].to_numpy().tolist() == [False] + [True] * 5
        assert {node[name].dims for name in map(str, node.coords)} == {("row",)}


def test_the_tree_reads_no_feature_until_one_is_asked_for(tmp_path: Path) -> None:
    utterances = corpus(12)
    extract(tmp_path / "s", utterances)
    snapshot, record = recorded(str(tmp_path / "s"))
    tree = snapshot.tree()
    assert tree["audio/voice/frames"].shape[1:] == (6,)
    assert tree["audio/voice/frames"].data.chunksize[0] == SHARD_FRAMES
    assert tree["text/words/embedding"].sizes == {"row": 12, "embedding_channel": 4}
    assert {key.split("/")[0] for key, _ in record.chunks} == {"utterances"}
    value = tree["audio/voice/mean"][5].to_numpy()  # type: ignore[index]
    np.testing.assert_array_equal(value, expected(voice_spec(), utterances[5])["mean"])  # type: ignore[index]
    assert {key for key, _ in record.take("audio/voice/mean")} == {"audio/voice/mean/c/1/0"}
    assert {key.split("/")[0] for key, _ in record.chunks} == {"utterances"}


def test_active_rows_are_chosen_by_their_label(tmp_path: Path) -> None:
    extract(tmp_path / "s", corpus(6))
    extract(tmp_path / "s", corpus(4))
    voice = open_store(str(tmp_path / "s")).tree()["audio/voice"].to_dataset()
    active = voice.isel(row=voice["active"].to_numpy())
    assert active["text"].to_numpy().tolist() == [one.text for one in corpus(4)]
    np.testing.assert_array_equal(
        active["mean"].to_numpy(),
        [expected(voice_spec(), one)["mean"] for one in corpus(4)],  # type: ignore[index]
    )


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    extract(tmp_path / "s", corpus(2))
    with pytest.raises(UsageError, match="it holds audio/voice, text/words, not 'audio/none'"):
        open_store(str(tmp_path / "s")).dataset("audio/none")
