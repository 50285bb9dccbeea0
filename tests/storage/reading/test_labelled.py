"""What a user of xarray sees of a store: dimensions that are shared, labels, units, no room."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import NEVER_EXTRACTED, ArraySpec, Features, FeatureSpec
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import open_store
from meldflow.storage.format.axes import axes_of
from meldflow.storage.format.layout import SHARD_FRAMES
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import expected, extract, pictures_spec, utterance, voice_spec
from tests.storage.past import tracks_spec
from tests.storage.recorded import recorded

VOICE, PICTURES, TRACKS = SPECS = (voice_spec(), pictures_spec(), tracks_spec())


def features(spec: FeatureSpec, one: Utterance) -> Features:
    record = expected(spec, one)
    assert isinstance(record, dict)
    return record


@pytest.fixture(scope="module")
def utterances() -> list[Utterance]:
    """Rows that failed, and the second partition of voice has but one with frames."""
    failed = dict.fromkeys((2, 5, 6, 7), "silent") | {4: "dark"}
    return [utterance(n, text=failed.get(n), emotion="joy") for n in range(10)]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, utterances: list[Utterance]) -> Path:
    """The first left the data set; the last was never tried."""
    folder = tmp_path_factory.mktemp("labelled") / "s"
    extract(folder, utterances[:9], SPECS)
    with open_run(str(folder), (VOICE,), partition=4) as run:
        run.sync(utterances[1:])
        run.publish()
    return folder


def frames_of(ds: xr.Dataset, name: str, of: str) -> NDArray[Any]:
    one = ds.sel(utterance=of)
    start = int(one["frame_offset"])
    return np.asarray(ds[name][start : start + int(one["frame_row_size"])])


def test_an_utterance_is_found_by_its_id(store: Path, utterances: list[Utterance]) -> None:
    ds = open_store(str(store)).dataset("audio/voice")
    for one in utterances[:9]:
        row = ds.sel(utterance=one.id)
        labels = [row[name].item() for name in ("text", "emotion", "number")]
        assert labels == [one.text, "joy", one.utterance]
        assert row["clip_seconds"] == one.clip.seconds
        if "silent" in one.text:
            assert not row["present"]
            assert row["reason"] == "silent"
            assert np.isnan(row["mean"]).all()
            assert frames_of(ds, "frames", one.id).shape == (0, 6)
        else:
            assert row["present"]
            np.testing.assert_array_equal(row["mean"], features(VOICE, one)["mean"])
            wanted = features(VOICE, one)["frames"]
            np.testing.assert_array_equal(frames_of(ds, "frames", one.id), wanted)
    assert ds["active"].to_numpy().tolist() == [False] + [True] * 9
    assert ds.sel(utterance=utterances[9].id)["reason"] == NEVER_EXTRACTED
    assert not ds.sel(utterance=utterances[9].id)["present"]


def test_frames_lie_one_after_another_without_room(
    store: Path, utterances: list[Utterance]
) -> None:
    ds = open_store(str(store)).dataset("audio/voice")
    there = [features(VOICE, one) for one in utterances[:9] if "silent" not in one.text]
    whole = np.concatenate([one["frames"] for one in there])
    assert ds["frames"].dims == ("frame", "channel")
    np.testing.assert_array_equal(ds["frames"], whole)
    np.testing.assert_array_equal(ds["frames"][::-7, 2], whole[::-7, 2])
    np.testing.assert_array_equal(ds["frames"][[3, 250, 9]], whole[[3, 250, 9]])
    np.testing.assert_array_equal(ds["frames"][-1], whole[-1])
    assert ds["frame_row_size"].attrs["sample_dimension"] == "frame"
    assert ds["frame_row_size"].sum() == len(whole)
    seconds = np.concatenate([np.arange(len(one["frames"])) / 50 for one in there])
    np.testing.assert_array_equal(ds["frame_time"], seconds)
    assert ds["frame_time"].attrs["units"] == "s"
    copy = pickle.loads(pickle.dumps(ds))
    np.testing.assert_array_equal(copy["frames"], whole)


def test_names_along_dimensions_are_labels(store: Path, utterances: list[Utterance]) -> None:
    ds = open_store(str(store)).dataset("audio/tracks")
    assert ds["descriptor"].to_numpy().tolist() == ["rms", "f0", "voiced"]
    there = [one for one in utterances[:9] if "silent" not in one.text]
    wanted = np.concatenate([features(TRACKS, one)["tracks"][:, 1] for one in there])
    np.testing.assert_array_equal(ds["tracks"].sel(descriptor="f0"), wanted)


def test_missing_integers_are_no_zeros(store: Path, utterances: list[Utterance]) -> None:
    ds = open_store(str(store)).dataset("video/pictures")
    assert ds["steps"].dims == ("utterance", "step", "channel")
    assert ds["index"].dims == ("utterance", "step")
    dark = utterances[4].id
    assert ds["index"].sel(utterance=dark).isnull().all()
    found = ds["index"].sel(utterance=utterances[3].id)
    np.testing.assert_array_equal(found, features(PICTURES, utterances[3])["index"])


def test_the_tree_reads_no_feature_until_one_is_asked_for(
    store: Path, utterances: list[Utterance]
) -> None:
    snapshot, record = recorded(str(store))
    tree = snapshot.tree()
    assert tree.attrs == {"store": str(store), "snapshot": snapshot.id}
    assert {node.path for node in tree.leaves} == {f"/{spec.name}" for spec in SPECS}
    arrays = [f"{spec.name}/{array.name}/c/" for spec in SPECS for array in spec.arrays]
    assert not [key for key, _ in record.chunks if key.startswith(tuple(arrays))]
    value = tree["audio/voice/mean"][4].to_numpy()  # type: ignore[index]
    np.testing.assert_array_equal(value, features(VOICE, utterances[4])["mean"])
    assert {key for key, _ in record.take("audio/voice/mean")} == {"audio/voice/mean/c/1/0"}
    voice = tree["audio/voice"].to_dataset()
    frames = voice["frames"]
    assert frames.shape[0] < SHARD_FRAMES
    first = int(voice["frame_row_size"][:4].sum())
    assert frames.data.chunksize[0] == first
    frames[:first].to_numpy()
    assert {key for key, _ in record.take("audio/voice/frames")} == {"audio/voice/frames/c/0/0"}


def test_a_store_without_frames_is_shown(tmp_path: Path) -> None:
    extract(tmp_path / "s", [utterance(0, text="silent")], (VOICE,))
    ds = open_store(str(tmp_path / "s")).dataset("audio/voice")
    assert ds["frames"].to_numpy().shape == (0, 6)
    assert ds["frame_time"].to_numpy().shape == (0,)


def test_a_data_set_that_is_not_there_is_named(store: Path) -> None:
    with pytest.raises(UsageError, match=r"it holds audio/tracks, .*, not 'audio/none'"):
        open_store(str(store)).dataset("audio/none")


def spec_of(name: str, dims: tuple[str, ...], *shape: int, **others: Any) -> ArraySpec:
    return ArraySpec(name=name, dims=dims, shape=shape, dtype="float32", **others)


def test_dimensions_are_shared_where_they_are_the_same() -> None:
    sizes = np.array([3, 0, 2])
    arrays = (
        spec_of("frames", ("frame", "channel"), 2, rate=50.0),
        spec_of("track", ("frame",), rate=50.0),
        spec_of("slow", ("frame",), rate=25.0),
        spec_of("mean", ("channel",), 2, columns=("a", "b")),
        spec_of("other", ("channel",), 2, columns=("c", "d")),
        spec_of("wide", ("step", "channel"), 4, 3),
        spec_of("step", ("step",), 4),
        spec_of("odd", ("utterance", "frame"), 1, 3),
    )
    axes = axes_of(arrays, {"frames": sizes, "track": sizes, "slow": sizes - 1})
    assert axes.dims == {
        "frames": ("frame", "channel"),
        "track": ("frame",),
        "slow": ("slow_frame",),
        "mean": ("utterance", "channel"),
        "other": ("utterance", "other_channel"),
        "wide": ("utterance", "wide_step", "wide_channel"),
        "step": ("utterance", "step_step"),
        "odd": ("utterance", "odd_utterance", "odd_frame"),
    }
    assert axes.labels == {"channel": ("a", "b"), "other_channel": ("c", "d")}
    assert axes.frames["frame"].offset.tolist() == [0, 3, 3]


def test_what_describes_an_array_is_no_part_of_a_key() -> None:
    told = replace(VOICE.arrays[1], units="Pa", long_name="loudness")
    assert replace(VOICE, arrays=(VOICE.arrays[0], told)).key == VOICE.key
