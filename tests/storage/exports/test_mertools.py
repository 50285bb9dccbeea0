"""The folder for MERTools, read back as its toolkit reads it."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from meldflow.models.schema.errors import UsageError
from meldflow.storage import exports, open_store
from meldflow.storage.exports.selection import INCOMPLETE
from tests.storage.corpus import corpus, expected, extract, pictures_spec, voice_spec, words_spec
from tests.storage.exports.test_exports import OnlyArrays, nowhere, write

SPECS = VOICE, PICTURES, WORDS = voice_spec(), pictures_spec(), words_spec()
ORDER = ["anger", "joy", "sadness", "neutral", "disgust", "fear", "surprise"]
"""Of the classes in MERTools' own label.npz for MELD."""
SPLITS = {"train": "train", "dev": "val", "test": "test"}


def labels(folder: Path) -> dict[str, dict[str, dict[str, int]]]:
    """As an old NumPy unpickles it: by names that it has."""
    found = {}
    with zipfile.ZipFile(folder / "label.npz") as archive:
        for name in archive.namelist():
            member = io.BytesIO(archive.read(name))
            assert npy.read_magic(member) == (1, 0)
            assert npy.read_array_header_1_0(member) == ((), False, np.dtype(object))
            found[name.removesuffix(".npy")] = OnlyArrays(member).load().tolist()
    with np.load(folder / "label.npz", allow_pickle=True) as archive:  # as the toolkit does it
        assert {name: archive[name].tolist() for name in archive.files} == found
    return found


@pytest.fixture(scope="module")
def utterances() -> list[Any]:
    """One is silent, one has no emotion, one has a text with a comma, quotes and two lines."""
    some = corpus(12)
    return [
        replace(some[0], emotion="joy", text='“No”, he said:\n"never"'),
        replace(some[1], text="silent"),
        replace(some[2], emotion=""),
        *some[3:],
    ]


@pytest.fixture(scope="module")
def written(utterances: list[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("mertools")
    extract(base / "store", utterances, SPECS)
    report = write(base / "store", base / "out", "mertools")
    assert (report.utterances, dict(report.left_out)) == (
        10,
        {"no emotion of the seven": 1, INCOMPLETE: 1},
    )
    return base / "out"


def test_every_label_has_its_files_and_every_file_its_values(
    written: Path, utterances: list[Any]
) -> None:
    named = {
        f"{SPLITS[one.split]}_dia{one.dialogue}_utt{one.utterance}": one
        for one in utterances
        if one.emotion and one.text != "silent"
    }
    corpora = labels(written)
    assert {name for one in corpora.values() for name in one} == set(named)
    for split, labelled in corpora.items():
        for name, label in labelled.items():
            assert split == f"{name.partition('_')[0]}_corpus"
            assert label == {"emo": ORDER.index(named[name].emotion), "val": -10}
    folders = {
        "audio-voice-frames-FRA": (VOICE, "frames"),
        "audio-voice-mean-UTT": (VOICE, "mean"),
        "video-pictures-steps-FRA": (PICTURES, "steps"),
        "text-words-embedding-UTT": (WORDS, "embedding"),
    }
    assert {one.name for one in (written / "features").iterdir()} == set(folders)
    for folder, (spec, array) in folders.items():
        files = {one.stem: np.load(one) for one in (written / "features" / folder).iterdir()}
        assert set(files) == set(named)
        for name, values in files.items():
            record = expected(spec, named[name])
            assert isinstance(record, dict)
            np.testing.assert_array_equal(values, np.nan_to_num(record[array], nan=0.0))
            assert values.dtype == np.float32


def test_texts_are_those_of_the_table(written: Path, utterances: list[Any]) -> None:
    with (written / "transcription.csv").open(encoding="utf-8", newline="") as file:
        told = {one["name"]: one["english"] for one in csv.DictReader(file)}
    assert len(told) == 10
    assert told["train_dia0_utt0"] == utterances[0].text


def test_what_was_made_of_the_arrays_is_in_the_record(written: Path) -> None:
    record = json.loads((written / "provenance.json").read_text())
    left_out = record["details"]["arrays_left_out"]
    assert Counter(left_out) == {"video/pictures/index": 1, "video/pictures/brightness": 1}
    zeros = record["details"]["features"]["video-pictures-steps-FRA"]["zeros"]
    assert zeros > 0
    assert f"video-pictures-steps-FRA: {zeros} values that were NaN are 0" in record["warnings"]


def test_a_split_that_is_empty_is_named(tmp_path: Path) -> None:
    extract(tmp_path / "store", corpus(2), (WORDS,))
    with pytest.raises(UsageError, match="no utterance of test is left"):
        write(tmp_path / "store", tmp_path / "out", "mertools")
    assert not (tmp_path / "out").exists()


def test_two_utterances_of_one_name_are_refused(tmp_path: Path) -> None:
    some = [replace(one, dialogue=-1, utterance=-1, name="a_b") for one in corpus(3)]
    twice = replace(some[0], name="a/b")
    extract(tmp_path / "store", [*some, twice], (WORDS,))
    chosen = exports.select(open_store(str(tmp_path / "store")), ref="main")
    with pytest.raises(UsageError, match="2 utterances would be called 'train_a_b'"):
        exports.export(
            chosen,
            format_name="mertools",
            target=tmp_path / "out",
            command="",
            advance=nowhere,
        )
