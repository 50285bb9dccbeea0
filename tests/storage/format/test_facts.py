"""What decoding showed of the clips is kept with them, by modality and by file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.media import AudioFacts, Modality, VideoFacts
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import open_store
from meldflow.storage.format.clip_facts import Facts
from meldflow.storage.writing.partition import Result, write_partition
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import corpus, expected, extract_all, utterance, voice_spec

VOICE = voice_spec()
FACE = replace(voice_spec(), name="video/face", modality=Modality.VIDEO)


def shown(modality: Modality, number: int) -> Facts:
    if modality == Modality.AUDIO:
        return AudioFacts(codec="aac", layout="5.1", channels=6, rate=48000, seconds=number / 8)
    return VideoFacts(
        codec="h264", frames_declared=9, frames_decoded=number, interlaced=number == 2
    )


def extract(store: Path, utterances: Sequence[Utterance], *wanted: FeatureSpec) -> None:
    """Extracts with facts: the row's number is in them."""
    with open_run(str(store), wanted, partition=4) as run:
        run.sync(utterances)
        for part in run.plan().partitions:
            results = {
                spec.name: {
                    row: Result(
                        record=expected(spec, utterances[row]),
                        seconds=0.0,
                        facts=shown(spec.modality, row),
                    )
                    for row in part.rows[spec.name]
                }
                for spec in wanted
                if spec.name in part.rows
            }
            run.merge(
                write_partition(run.fork(), part.partition, results, wanted, partition_size=4)
            )
        run.commit()
        run.publish()


def clips(store: Path) -> pd.DataFrame:
    return open_store(str(store)).clips()


def test_facts_come_back_as_they_were(tmp_path: Path) -> None:
    extract(tmp_path / "store", corpus(6), VOICE, FACE)
    table = clips(tmp_path / "store")
    assert list(table.index) == [one.id for one in corpus(6)]
    assert table["clip"].iloc[3] == "/clips/3.mp4"
    assert set(table["audio_layout"]) == {"5.1"}
    assert table["audio_seconds"].tolist() == [row / 8 for row in range(6)]
    assert table["video_frames_decoded"].tolist() == list(range(6))
    assert table["video_interlaced"].tolist() == [row == 2 for row in range(6)]


def test_what_was_not_decoded_is_not_known(tmp_path: Path) -> None:
    extract(tmp_path / "store", corpus(3), VOICE)
    table = clips(tmp_path / "store")
    assert table["audio_codec"].notna().all()
    assert table["video_codec"].isna().all()


def test_decoding_one_modality_keeps_the_other_s_facts(tmp_path: Path) -> None:
    extract(tmp_path / "store", corpus(3), VOICE, FACE)
    extract(tmp_path / "store", corpus(3), replace(FACE, version=2))
    table = clips(tmp_path / "store")
    assert table[["audio_codec", "video_codec"]].notna().all(axis=None)


def test_facts_of_another_file_are_not_shown(tmp_path: Path) -> None:
    extract(tmp_path / "store", corpus(3), VOICE, FACE)
    changed = [utterance(0), utterance(1, take="b"), utterance(2)]
    extract(tmp_path / "store", changed, VOICE)
    table = clips(tmp_path / "store")
    assert table["audio_codec"].notna().all()
    assert table["video_codec"].isna().tolist() == [False, True, False]


def test_new_rows_get_room(tmp_path: Path) -> None:
    extract(tmp_path / "store", corpus(3), VOICE, FACE)
    extract(tmp_path / "store", corpus(9), VOICE, FACE)
    assert clips(tmp_path / "store")["video_frames_decoded"].tolist() == list(range(9))


def test_a_name_is_an_id(tmp_path: Path) -> None:
    named = [
        replace(one, split="clips", dialogue=-1, utterance=-1, name=f"sub folder/angry {i}")
        for i, one in enumerate(corpus(3))
    ]
    extract(tmp_path / "store", named, VOICE)
    extract(tmp_path / "store", named[::-1], VOICE)
    snapshot = open_store(str(tmp_path / "store"))
    assert snapshot.row("clips/sub folder/angry 2") == 2
    assert len(snapshot.rows()) == 3
    np.testing.assert_array_equal(
        snapshot.frames("audio/voice", "frames", "clips/sub folder/angry 1"),
        expected(VOICE, named[1])["frames"],  # type: ignore[index]
    )


def test_a_store_follows_one_data_set(tmp_path: Path) -> None:
    with open_run(str(tmp_path / "store"), [VOICE], partition=4) as run:
        extract_all(run, corpus(3), [VOICE])
        run.publish()
    others = [replace(one, dialogue=one.dialogue + 100) for one in corpus(3)]
    with (
        open_run(str(tmp_path / "store"), [VOICE], partition=4) as run,
        pytest.raises(UsageError, match="none of its 3 utterances is in this data set"),
    ):
        run.sync(others)
    assert len(open_store(str(tmp_path / "store")).rows()) == 3
