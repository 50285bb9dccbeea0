"""Where features lie: every row has all of its arrays or none, whatever a header or a spec says."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meldflow.models.schema.features import ArraySpec, FeatureSpec
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import open_store
from meldflow.storage.writing.partition import Result, write_partition
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import corpus, expected, extract, voice_spec


def lasting(one: Utterance, seconds: float) -> Utterance:
    return replace(one, seconds=seconds, clip=replace(one.clip, seconds=seconds))


def with_track(rate: float) -> FeatureSpec:
    """Frames at 50 per second, and a track of another rate behind them."""
    track = ArraySpec(name="track", dims=("step",), shape=(), dtype="float32", rate=rate)
    frames, mean = voice_spec().arrays
    return replace(voice_spec(), arrays=(frames, track, mean))


def test_a_row_that_does_not_fit_one_array_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 128)
    monkeypatch.setattr("meldflow.storage.writing.partition.SHARD_FRAMES", 128)
    spec, store = with_track(100.0), str(tmp_path / "s")
    said = [lasting(one, 0.25) for one in corpus(4)]
    results = {}
    for row, one in enumerate(said):
        record = expected(spec, one)
        assert isinstance(record, dict)
        # The first clip is longer than it says: 28 + 3 x 12 frames fit a shard, a track of 100
        # and 3 x 25 does not.
        n_track = 100 if row == 0 else 25
        results[row] = Result(record=record | {"track": np.ones(n_track, np.float32)}, seconds=0.0)
    with open_run(store, (spec,), partition=4) as run:
        run.sync(said)
        run.merge(write_partition(run.fork(), 0, {spec.name: results}, (spec,), partition_size=4))
        run.publish()
    snapshot = open_store(store)
    (failed,) = snapshot.failures()
    assert (failed.id, failed.reason) == (said[0].id, "too_long")
    state = snapshot.state(spec.name)
    for name in ("frames", "track"):
        array = snapshot.array(spec.name, name)
        assert len(array.read(np.array([0]))[0]) == 0
        assert [len(one) > 0 for one in array.read(np.arange(4))] == [False, True, True, True]
    assert state["status"].tolist() == [2, 1, 1, 1]
    values, there = snapshot.features(spec.name, "mean")
    assert there.tolist() == [False, True, True, True]
    assert np.isnan(values[0]).all()


@pytest.mark.parametrize("rate", [None, 50.0])
def test_a_row_larger_than_a_chunk_is_stored(
    tmp_path: Path, rate: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 128)
    monkeypatch.setattr("meldflow.storage.writing.partition.SHARD_FRAMES", 128)
    dims, shape = ("layer", "channel"), (13, 6000)  # 312,000 bytes
    wide = ArraySpec(
        name="wide",
        dims=("frame", *dims) if rate else dims,
        shape=shape,
        dtype="float32",
        rate=rate,
    )
    spec = replace(voice_spec(), arrays=(wide,))
    one = lasting(corpus(1)[0], 0.1)
    extract(tmp_path / "s", [one], (spec,))
    record = expected(spec, one)
    assert isinstance(record, dict)
    (found,) = open_store(str(tmp_path / "s")).read_rows(spec.name, "wide", np.array([0]))
    np.testing.assert_array_equal(found, record["wide"])


@pytest.mark.parametrize("seconds", [9e12, float("inf")])
def test_a_header_that_declares_ages_takes_no_room(tmp_path: Path, seconds: float) -> None:
    """Nor does it move what later partitions hold beyond what a chunk's number can say."""
    store, spec = tmp_path / "s", voice_spec()
    said = [lasting(corpus(1)[0], seconds), *corpus(9)[1:]]
    with open_run(str(store), (spec,), partition=4) as run:
        run.sync(said)
        results = {
            row: Result(record=expected(spec, one), seconds=0.0)
            for row, one in enumerate(corpus(9))
        }
        for part in run.plan().partitions:
            own = {spec.name: {int(row): results[row] for row in part.rows[spec.name]}}
            run.merge(write_partition(run.fork(), part.partition, own, (spec,), partition_size=4))
        run.publish()
    snapshot = open_store(str(store))
    assert not snapshot.failures()
    assert snapshot.array(spec.name, "frames").values.shape[0] < 10**5
    for one in corpus(9):
        record = expected(spec, one)
        assert isinstance(record, dict)
        np.testing.assert_array_equal(
            snapshot.frames(spec.name, "frames", one.id), record["frames"]
        )
