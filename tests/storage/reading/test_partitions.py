from __future__ import annotations

import pickle
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import NEVER_EXTRACTED, STALE, FeatureRow
from meldflow.models.schema.media import Missing
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import PartitionReader, open_store
from meldflow.storage.format.arrays import open_array
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import SPECS, corpus, do_partition, expected, extract, utterance
from tests.storage.recorded import recorded

PATHS = ("audio/voice/frames", "audio/voice/mean", "text/words/embedding")


def reader_of(store: Path, split: str | None = None, ref: str = "main") -> PartitionReader:
    return open_store(str(store), ref).partitions(*PATHS, split=split)


def read_all(reader: PartitionReader) -> list[FeatureRow]:
    return [row for partition in reader.sizes() for row in reader.read(partition)]


def features_of(one: Utterance) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """What the store should hold of an utterance, and why it lacks the rest."""
    arrays: dict[str, NDArray[Any]] = {}
    missing: dict[str, str] = {}
    for spec in SPECS:
        record = expected(spec, one)
        for array in spec.arrays:
            path = f"{spec.name}/{array.name}"
            if isinstance(record, Missing):
                missing[path] = record.reason.value
            else:
                arrays[path] = record[array.name]
    return arrays, missing


def same(one: Mapping[str, NDArray[Any]], other: Mapping[str, NDArray[Any]]) -> bool:
    return one.keys() == other.keys() and all(
        one[path].dtype == other[path].dtype and np.array_equal(one[path], other[path])
        for path in one
    )


def check(rows: Sequence[FeatureRow], utterances: Sequence[Utterance]) -> None:
    """The rows are those of the utterances, each once, whole, with the reasons."""
    by_id = {row.id: row for row in rows}
    assert len(rows) == len(by_id) == len(utterances)
    for one in utterances:
        arrays, missing = features_of(one)
        row = by_id[one.id]
        assert row.emotion == one.emotion
        assert row.missing == missing
        assert same(row.arrays, arrays)


@pytest.fixture
def utterances() -> list[Utterance]:
    silent = [utterance(n, text=f"silent {n}", emotion="joy") for n in (3, 12, 13, 14, 15)]
    return sorted([*corpus(3), *silent, *corpus(12)[4:]], key=lambda one: one.clip.size)


def test_every_active_row_comes_once_with_its_features_or_their_reason(
    tmp_path: Path, utterances: list[Utterance]
) -> None:
    extract(tmp_path / "s", [*utterances, *corpus(20)[16:]])
    left = [one for n, one in enumerate(utterances) if n not in (0, 6)]
    extract(tmp_path / "s", left)  # rows 0, 6 and a whole partition leave the data set
    reader = reader_of(tmp_path / "s")
    assert reader.sizes() == {0: 3, 1: 3, 2: 4, 3: 4}
    check(read_all(reader), left)
    assert [row.row for row in reader.read(1)] == [4, 5, 7]
    assert all(row.missing[PATHS[0]] == "silent" for row in reader.read(3))


def test_a_split_gives_its_rows_only(tmp_path: Path, utterances: list[Utterance]) -> None:
    extract(tmp_path / "s", utterances)
    wanted = [one for one in utterances if one.split == "dev"]
    check(read_all(reader_of(tmp_path / "s", split="dev")), wanted)


def test_a_pinned_reader_does_not_see_what_is_published_later(tmp_path: Path) -> None:
    before = corpus(6)
    extract(tmp_path / "s", before)
    reader = reader_of(tmp_path / "s")
    assert reader.sizes() == {0: 4, 1: 2}
    extract(tmp_path / "s", [utterance(0, take="b"), *corpus(9)[1:]])
    unopened = pickle.loads(pickle.dumps(reader))
    for one in (reader, unopened):
        check(read_all(one), before)
    check(read_all(reader_of(tmp_path / "s")), [utterance(0, take="b"), *corpus(9)[1:]])


def test_an_open_reader_pickles_without_what_it_opened(tmp_path: Path) -> None:
    extract(tmp_path / "s", corpus(6))
    reader = reader_of(tmp_path / "s")
    unopened = pickle.dumps(reader)
    read_all(reader)
    assert pickle.dumps(reader) == unopened
    assert pickle.loads(unopened) == reader


def test_a_partition_is_one_request_and_a_row_is_its_chunks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 512)
    monkeypatch.setattr("meldflow.storage.writing.partition.SHARD_FRAMES", 512)
    monkeypatch.setattr("meldflow.storage.format.layout.CHUNK_BYTES", 64 * 12)
    extract(tmp_path / "s", corpus(12))  # 4 rows of 25, 75, 125 and 175 frames per partition
    snapshot, record = recorded(str(tmp_path / "s"))

    def reads(rows: list[int]) -> list[tuple[str, str]]:
        values = snapshot.read_rows("audio/voice", "frames", np.array(rows))
        for row, frames in zip(rows, values, strict=True):
            expectation = features_of(utterance(row))[0]["audio/voice/frames"]
            np.testing.assert_array_equal(frames, expectation)
        return record.take("audio/voice/frames")

    shard = "audio/voice/frames/c/1/0"
    assert reads([4, 5, 6, 7]) == [(shard, "None")]
    assert reads([5, 7]) == [(shard, "None")]  # most of the shard, whatever lies between
    few = reads([4, 5])  # frames 0 to 100 of the shard: its index and two chunks
    assert {key for key, _ in few} == {shard}
    assert "None" not in {asked for _, asked in few}
    # The newer zarr asks for both chunks at once, past what is recorded here.
    older = tuple(map(int, version("zarr").split(".")[:2])) < (3, 3)
    assert len(few) == len(set(few)) == (3 if older else 1)
    assert len(record.take("audio/voice/frames_start")) == 1  # where frames lie is read once


def test_rows_never_tried_say_so_and_nothing_is_read_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 1024)
    monkeypatch.setattr("meldflow.storage.writing.partition.SHARD_FRAMES", 1024)
    store = tmp_path / "s"
    extract(store, corpus(6))
    with open_run(str(store), SPECS, partition=4) as run:
        run.sync(corpus(11))
        snapshot, record = recorded(str(store), run.branch)
        rows = reader_of(store, ref=run.branch).read(1)
        assert [len(row.arrays) for row in rows] == [3, 3, 0, 0]
        assert rows[3].missing == dict.fromkeys(PATHS, NEVER_EXTRACTED)
        check(rows[:2], corpus(6)[4:])
        snapshot.read_rows("audio/voice", "frames", np.arange(4, 8))
        assert {key for key, _ in record.take("audio/voice/frames")} == {"audio/voice/frames/c/1/0"}
        never = snapshot.read_rows("audio/voice", "frames", np.arange(8, 11))
        assert [one.shape for one in never] == [(0, 6)] * 3
        assert record.take("audio/voice/frames") == []


def test_a_partition_that_a_run_has_not_rewritten_keeps_its_rows(tmp_path: Path) -> None:
    before = corpus(8)
    extract(tmp_path / "s", before)
    after = [utterance(n, take="b") for n in range(8)]
    with open_run(str(tmp_path / "s"), SPECS, partition=4) as run:
        run.sync(after)
        run.merge(do_partition(run, run.plan().partitions[1], after, SPECS))
        run.commit()
        reader = reader_of(tmp_path / "s", ref=run.branch)
    rows = read_all(reader)
    check(rows[4:], after[4:])
    assert [row.missing for row in rows[:4]] == [dict.fromkeys(PATHS[:2], STALE)] * 4
    group, specs = reader.snapshot.group("audio/voice"), reader.arrays
    for path in PATHS[:2]:
        held = open_array(group, specs[path], stale=np.zeros(8, bool)).read(np.arange(4))
        for values, one in zip(held, before, strict=False):
            np.testing.assert_array_equal(values, features_of(one)[0][path])


def test_what_is_of_an_earlier_clip_or_text_is_not_present(tmp_path: Path) -> None:
    """After a run of one extractor alone, whatever asks for the other's features."""
    store, (voice, words) = tmp_path / "s", SPECS
    extract(store, corpus(8))
    after = [utterance(0, take="b"), utterance(1, text="other"), *corpus(8)[2:]]
    extract(store, after, (words,))
    snapshot = open_store(str(store))
    assert snapshot.stale("audio/voice").tolist() == [True] + [False] * 7
    first, *others = read_all(reader_of(store))
    check(others, after[1:])
    assert (set(first.arrays), first.missing) == ({PATHS[2]}, dict.fromkeys(PATHS[:2], STALE))
    values, there = snapshot.features("audio/voice", "mean")
    assert there.tolist() == [False] + [True] * 7
    assert np.isnan(values).all(axis=1).tolist() == [True] + [False] * 7
    assert np.isnan(snapshot.read_rows("audio/voice", "mean", np.array([0, 1]))[0]).all()
    assert snapshot.frames("audio/voice", "frames", first.id).shape == (0, 6)
    assert len(dict(snapshot.iter_frames("audio/voice", "frames"))[0]) == 0
    ds = snapshot.dataset("audio/voice")
    assert ds["present"].to_numpy().tolist() == there.tolist()
    assert (ds["reason"][0].item(), int(ds["frame_row_size"][0])) == (STALE, 0)
    assert np.isnan(ds["mean"].to_numpy()).all(axis=1).tolist() == [True] + [False] * 7
    assert int(ds["frame_row_size"].sum()) == len(ds["frames"].to_numpy())
    extract(store, after, (voice,))
    check(read_all(reader_of(store)), after)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    extract(tmp_path / "s", corpus(2))
    snapshot = open_store(str(tmp_path / "s"))
    for path, message in {
        "audio/voice/medians": "gives frames, mean, not 'medians'",
        "audio/none/mean": "not 'audio/none'",
        "mean": "not ''",
    }.items():
        with pytest.raises(UsageError, match=message):
            snapshot.partitions(path)
    with pytest.raises(UsageError, match="its splits are train, dev, not 'test'"):
        snapshot.partitions(PATHS[0], split="test")
    with pytest.raises(KeyError):
        snapshot.partitions(PATHS[0]).read(7)


def test_single_rows_and_whole_columns_agree_with_partitions(
    tmp_path: Path, utterances: list[Utterance]
) -> None:
    extract(tmp_path / "s", utterances)
    snapshot = open_store(str(tmp_path / "s"))
    means, there = snapshot.features("audio/voice", "mean")
    for row in read_all(reader_of(tmp_path / "s")):
        frames = snapshot.frames("audio/voice", "frames", row.id)
        assert there[row.row] == (PATHS[0] in row.arrays)
        if there[row.row]:
            np.testing.assert_array_equal(frames, row.arrays[PATHS[0]])
            np.testing.assert_array_equal(means[row.row], row.arrays[PATHS[1]])
        else:
            assert frames.shape == (0, 6)
            assert np.isnan(means[row.row]).all()
