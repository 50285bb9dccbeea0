"""Every format read back by a reader of its own, against the features that were extracted."""

from __future__ import annotations

import io
import json
import pickle
import shutil
import tracemalloc
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import xarray as xr
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import (
    NEVER_EXTRACTED,
    STALE,
    ArraySpec,
    Features,
    FeatureSpec,
    Record,
)
from meldflow.models.schema.media import Missing
from meldflow.models.schema.utterances import EMOTIONS, Utterance
from meldflow.storage import exports, open_store
from meldflow.storage.exports import ExportReport, Selection
from meldflow.storage.exports.publish import writer_of
from meldflow.storage.exports.selection import INACTIVE, INCOMPLETE
from meldflow.storage.format.arrays import RaggedArray
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import (
    corpus,
    do_partition,
    expected,
    pictures_spec,
    utterance,
    voice_spec,
    words_spec,
)

VOICE, PICTURES, WORDS = SPECS = (voice_spec(), pictures_spec(), words_spec())
ALL = tuple(spec.name for spec in SPECS)


def nowhere(_: int) -> None:
    """Progress that nobody looks at."""


def extract(
    store: Path,
    utterances: list[Utterance],
    specs: tuple[FeatureSpec, ...],
    rows: list[Utterance] | None = None,
) -> None:
    """A whole run; ``rows``: the utterance of every row, where some have left."""
    with open_run(str(store), specs, partition=4) as run:
        run.sync(utterances)
        for part in run.plan().partitions:
            run.merge(do_partition(run, part, rows or utterances, specs))
        run.publish()


def write(
    store: Path, target: Path, format_name: str, *, ref: str = "main", **chosen: Any
) -> ExportReport:
    selection = exports.select(open_store(str(store), ref), ref=ref, **chosen)
    return exports.export(
        selection, format_name=format_name, target=target, command="typed", advance=nowhere
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A store, the snapshot to export, and what it holds of whom."""

    store: Path
    snapshot: str
    utterances: list[Utterance]
    records: Mapping[str, Mapping[str, Record | str]]
    """Extractor → id of an utterance → its record, NEVER_EXTRACTED or STALE."""
    stale: Mapping[str, set[str]]


SENTIMENTS = ("negative", "neutral", "positive")


def _labelled(one: Utterance, number: int) -> Utterance:
    return replace(one, sentiment=SENTIMENTS[number % 3], emotion=EMOTIONS[number % 7])


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Stored:
    """Failures, removed and moved rows, new text, stale and untried rows, a later snapshot."""
    store = tmp_path_factory.mktemp("exports") / "s"
    first = [_labelled(one, number) for number, one in enumerate(corpus(21))]
    first[3] = replace(first[3], text="silent")
    first[7] = replace(first[7], text="dark")
    first[8] = replace(first[8], text="dark and silent")
    first[10] = replace(first[10], name="Zoë “the 1st” 🎬")
    first[16] = replace(first[16], text="it’s a Müsli, isn’t it?\nΩ")
    # Longer than the mean and three standard deviations.
    first[17] = replace(first[17], clip=replace(first[17].clip, seconds=40.0))
    extract(store, first, SPECS)
    # The first, a middle and the last of a partition leave, and a whole partition.
    gone = (0, 5, 11, 12, 13, 14, 15)
    kept = [one for number, one in enumerate(first) if number not in gone]
    extract(store, kept, SPECS, first)
    # A clip is replaced and an utterance is new, and only the text is extracted.
    old = first[2]
    new = replace(old, clip=utterance(2, take="b").clip)
    rows = [*first[:2], new, *first[3:], _labelled(utterance(21), 21)]
    final = [one for number, one in enumerate(rows) if number not in gone]
    extract(store, final, (WORDS,), rows)
    snapshot = open_store(str(store)).id
    records: dict[str, dict[str, Record | str]] = {
        spec.name: {one.id: expected(spec, one) for one in final} for spec in SPECS
    }
    for spec in (VOICE, PICTURES):
        records[spec.name][final[-1].id] = NEVER_EXTRACTED
        records[spec.name][old.id] = STALE
    # What comes later must not show in an export of that snapshot.
    later = [replace(one, text="changed") for one in rows]
    extract(store, [later[row] for row in (1, 2, 3)], SPECS, later)
    return Stored(
        store=store,
        snapshot=snapshot,
        utterances=final,
        records=records,
        stale={VOICE.name: {old.id}, PICTURES.name: {old.id}, WORDS.name: set()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a reader found of one extractor, in the order of the rows."""

    ids: list[str]
    status: list[str]
    reason: list[str]
    stale: list[bool]
    features: list[Features | None]
    """None where the format has a way to say "missing"."""


Reader: TypeAlias = Callable[[Path, FeatureSpec], Read]


def read_zarr(path: Path, spec: FeatureSpec) -> Read:
    group = xr.open_zarr(path, group=spec.name, mask_and_scale=False).load()
    rows = range(group.sizes["utterance"])
    features: list[Features | None] = [{} for _ in rows]
    for array in spec.arrays:
        values = group[array.name].to_numpy()
        for row, of_row in enumerate(features):
            assert of_row is not None
            of_row[array.name] = values[_span(group, row) if array.rate else row]
    return Read(
        ids=[str(one) for one in group["utterance"].to_numpy()],
        status=[str(one) for one in group["status"].to_numpy()],
        reason=[str(one) for one in group["reason"].to_numpy()],
        stale=group["stale"].to_numpy().tolist(),
        features=features,
    )


def _span(group: xr.Dataset, row: int) -> slice:
    start = int(group["frame_offset"][row])
    return slice(start, start + int(group["frame_row_size"][row]))


def read_parquet(path: Path, spec: FeatureSpec) -> Read:
    table = pd.read_parquet(path / f"{spec.name}.parquet")
    features: list[Features | None] = []
    columns = {array.name: table[array.name].to_numpy() for array in spec.arrays}
    for number in range(len(table)):
        row = {name: values[number] for name, values in columns.items()}
        nulls = {array.name: _is_null(row[array.name]) for array in spec.arrays}
        assert len(set(nulls.values())) == 1, nulls
        missing = nulls[spec.arrays[0].name]
        features.append(None if missing else {a.name: _cell(row[a.name], a) for a in spec.arrays})
    return Read(
        ids=table["utterance"].tolist(),
        status=table["status"].tolist(),
        reason=table["reason"].tolist(),
        stale=table["stale"].tolist(),
        features=features,
    )


def _is_null(value: Any) -> bool:
    return value is None or (np.ndim(value) == 0 and bool(pd.isna(value)))


def _cell(value: Any, array: ArraySpec) -> NDArray[Any]:
    """Where a file has nulls, pandas turns its integers into floats; the file does not."""
    found = _nested(value)
    if array.dtype.startswith("int"):
        assert np.array_equal(found, found.astype(array.dtype))
        return found.astype(array.dtype)
    return found


def _nested(value: Any) -> NDArray[Any]:
    """Lists of lists as pandas gives them, as one array."""
    array = np.asarray(value)
    return np.stack([_nested(one) for one in array]) if array.dtype == object else array


READERS: Mapping[str, Reader] = {
    "zarr": read_zarr,
    "parquet": read_parquet,
}


def same_bits(found: NDArray[Any], wanted: NDArray[Any]) -> None:
    assert (found.shape, found.dtype) == (wanted.shape, wanted.dtype)
    assert np.ascontiguousarray(found).tobytes() == np.ascontiguousarray(wanted).tobytes()


def check(read: Read, spec: FeatureSpec, stored: Stored) -> None:
    assert read.ids == [one.id for one in stored.utterances]
    assert {one for one, stale in zip(read.ids, read.stale, strict=True) if stale} == stored.stale[
        spec.name
    ]
    for name, status, reason, features in zip(
        read.ids, read.status, read.reason, read.features, strict=True
    ):
        record = stored.records[spec.name][name]
        if isinstance(record, str):
            assert (status, reason) == (STALE if record == STALE else "never", "")
        elif isinstance(record, Missing):
            assert (status, reason) == ("failed", record.reason)
        else:
            assert (status, reason) == ("ok", "")
            assert features is not None
            for array in spec.arrays:
                same_bits(features[array.name], record[array.name])
            continue
        for array in spec.arrays if features is not None else ():
            assert features is not None
            value = features[array.name]
            if array.rate:
                assert len(value) == 0
            elif array.dtype == "int32":  # and no silent zeros
                assert np.all(value == np.iinfo(np.int32).min)
            else:
                assert np.isnan(value).all()


@pytest.fixture(params=READERS)
def exported(
    request: pytest.FixtureRequest,
    stored: Stored,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> tuple[str, Path, ExportReport]:
    """The whole snapshot in a format; shards so small that arrays need many."""
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 128)
    monkeypatch.setattr("meldflow.storage.exports.zarr.SHARD_ROWS", 8)
    path = tmp_path / "ünder" / "export"
    report = write(stored.store, path, request.param, ref=stored.snapshot)
    return request.param, path, report


@pytest.mark.parametrize("spec", SPECS, ids=ALL)
def test_features_come_back_bit_for_bit(
    exported: tuple[str, Path, ExportReport], stored: Stored, spec: FeatureSpec
) -> None:
    name, path, _ = exported
    check(READERS[name](path, spec), spec, stored)


def test_parquet_says_null_where_a_feature_is_missing(stored: Stored, tmp_path: Path) -> None:
    write(stored.store, tmp_path / "p", "parquet", ref=stored.snapshot)
    read = read_parquet(tmp_path / "p", VOICE)
    lacking = {i for i, f in zip(read.ids, read.features, strict=True) if f is None}
    records = stored.records[VOICE.name]
    assert lacking == {one for one, record in records.items() if not isinstance(record, dict)}
    pictures = pq.read_schema(tmp_path / "p" / "video" / "pictures.parquet")
    types = [str(pictures.field(array.name).type) for array in PICTURES.arrays]
    step = "fixed_size_list<element: halffloat>[5]"
    assert types == [
        f"fixed_size_list<element: {step}>[3]",
        "fixed_size_list<element: int32>[3]",
        "float",
    ]
    file = pq.ParquetFile(tmp_path / "p" / "audio" / "voice.parquet")
    # The partitions have four rows each, and one of them has left whole.
    groups = [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)]
    assert groups == [3, 3, 3, 4, 2]


def utterances_zarr(path: Path) -> pd.DataFrame:
    table: pd.DataFrame = xr.open_zarr(path, group="utterances").to_dataframe().reset_index()
    return table


def utterances_parquet(path: Path) -> pd.DataFrame:
    return pd.read_parquet(path / "utterances.parquet")


CATALOGUES: Mapping[str, Callable[[Path], pd.DataFrame]] = {
    "zarr": utterances_zarr,
    "parquet": utterances_parquet,
}


def test_the_catalogue_comes_with_it(
    exported: tuple[str, Path, ExportReport], stored: Stored
) -> None:
    name, path, _ = exported
    table = CATALOGUES[name](path)
    same = ("split", "dialogue", "name", "speaker", "text", "emotion", "sentiment")
    for column, field in {
        "utterance": "id",
        "number": "utterance",
        **{name: name for name in same},
    }.items():
        assert table[column].tolist() == [getattr(one, field) for one in stored.utterances]
    assert table["clip_sha256"].tolist() == [one.clip.sha256.hex() for one in stored.utterances]
    assert table["seconds"].dtype == np.float32


def test_zarr_shows_what_the_store_does_and_needs_no_icechunk(
    stored: Stored, tmp_path: Path
) -> None:
    write(stored.store, tmp_path / "z", "zarr", ref=stored.snapshot)
    tree = xr.open_datatree(tmp_path / "z", engine="zarr")
    assert {f"/{name}" for name in (*ALL, "utterances")} < set(tree.groups)
    snapshot = open_store(str(stored.store), stored.snapshot)
    for name in ALL:
        ours = snapshot.dataset(name).load()
        theirs = tree[name].to_dataset().load()
        ours = ours.isel(utterance=ours["active"].to_numpy())
        assert set(theirs.coords) - set(ours.coords) == {"status", "key"}
        for label in ("utterance", "present", "stale"):
            assert theirs[label].to_numpy().tolist() == ours[label].to_numpy().tolist()
        for variable in ours.data_vars:
            assert theirs[variable].dims == ours[variable].dims
            assert theirs[variable].attrs == ours[variable].attrs
            if ours[variable].dims[0] == "utterance":  # the frames of those that left are in ours
                np.testing.assert_array_equal(theirs[variable], ours[variable])
    frames = tree["audio/voice"].to_dataset()
    assert frames["frame_row_size"].attrs["sample_dimension"] == "frame"
    assert frames.sizes["frame"] == frames["frame_row_size"].sum()
    at = frames.sel(utterance="dev/dia1_utt1")
    assert frames["frame_time"][int(at["frame_offset"]) + 5] == 0.1
    tree.close()


def provenance(report: ExportReport) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(report.provenance).read_text(encoding="utf-8"))
    return found


def test_provenance_tells_where_it_comes_from(
    exported: tuple[str, Path, ExportReport], stored: Stored
) -> None:
    name, path, report = exported
    assert report.provenance == str(path / "provenance.json")
    record = provenance(report)
    assert (record["format"], record["command"]) == (name, "typed")
    assert (record["store"], record["ref"]) == (str(stored.store), stored.snapshot)
    assert record["snapshot"] == stored.snapshot
    assert record["utterances"]["exported"] == len(stored.utterances) == 15
    assert record["utterances"]["left_out"] == {INACTIVE: 7}
    assert sum(record["utterances"]["by_split"].values()) == 15
    pictures = record["extractors"][PICTURES.name]
    assert pictures["key"] == PICTURES.key
    assert pictures["weights"] == {"kind": "random", "revision": "seed-7", "model": "made/up"}
    assert pictures["parameters"] == {"steps": 3}
    assert pictures["utterances"] == {"ok": 11, "missing": 4, "stale": 1}
    assert pictures["reasons"] == {"decode_error": 2, NEVER_EXTRACTED: 1, STALE: 1}
    missing = {
        (one["utterance"], one["extractor"], one["reason"], one["message"])
        for one in record["missing"]
    }
    assert missing == {
        (name, extractor, *_reason(found))
        for extractor, records in stored.records.items()
        for name, found in records.items()
        if not isinstance(found, dict)
    }
    assert record["random_weights"] == [PICTURES.name]
    assert record["warnings"][0].startswith("RANDOM WEIGHTS: ")
    assert any(one.startswith("audio/voice: 1 stale") for one in record["warnings"])
    assert "GPL-3.0" in " ".join(record["licences"])
    assert "copyrighted" in " ".join(record["licences"])
    assert record["software"]["numpy"] == np.__version__
    assert record["runs"]
    assert all(one["id"].startswith("run-") and one["started"] for one in record["runs"])
    assert report.warnings == tuple(record["warnings"])


def _reason(found: Record | str) -> tuple[str, str]:
    if isinstance(found, Missing):
        return found.reason, found.message
    return found if isinstance(found, str) else "", ""


def test_only_chosen_extractors_and_complete_utterances(stored: Stored, tmp_path: Path) -> None:
    chosen = {"only": (VOICE.name, WORDS.name), "complete": True}
    report = write(stored.store, tmp_path / "n", "parquet", ref=stored.snapshot, **chosen)
    assert not (tmp_path / "n" / "video").exists()
    read = read_parquet(tmp_path / "n", VOICE)
    records = stored.records[VOICE.name]
    assert read.ids == [name for name, one in records.items() if isinstance(one, dict)]
    assert report.left_out == {INACTIVE: 7, INCOMPLETE: len(records) - len(read.ids)}
    assert report.extractors[VOICE.name]["missing"] == 0
    assert provenance(report)["missing"] == []
    assert not any("RANDOM" in one for one in report.warnings)


class OnlyArrays(pickle.Unpickler):
    """Refuses everything but what an array is made of."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {("numpy", "ndarray"), ("numpy", "dtype")}:
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def load(path: Path) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = OnlyArrays(io.BytesIO(path.read_bytes())).load()
    return found


MODALITIES = {
    "audio": (VOICE, "frames"),
    "vision": (PICTURES, "steps"),
    "text": (WORDS, "embedding"),
}
MMSA_SPLITS = {"train": "train", "dev": "valid", "test": "test"}
KEYS = {
    *("raw_text", "id", "annotations", "text", "audio", "vision"),
    *("text_lengths", "audio_lengths", "vision_lengths"),
    *("regression_labels", "classification_labels", "emotion_labels"),
}


def steps_of(record: Record | str, array: str) -> NDArray[Any]:
    """The steps that are neither missing nor masked, shape (n_steps, n_channels)."""
    if not isinstance(record, dict):
        return np.empty((0, 0), np.float32)
    values = np.atleast_2d(record[array])
    return np.asarray(values[~np.isnan(values).all(axis=1)])


def by_split(stored: Stored) -> Iterator[tuple[str, list[Utterance]]]:
    for ours, theirs in MMSA_SPLITS.items():
        yield theirs, [one for one in stored.utterances if one.split == ours]


def test_mmsa_labels_and_ids(stored: Stored, tmp_path: Path) -> None:
    write(stored.store, tmp_path / "m.pkl", "mmsa", ref=stored.snapshot)
    data = load(tmp_path / "m.pkl")
    assert list(data) == ["train", "valid", "test"]
    for name, utterances in by_split(stored):
        split = data[name]
        assert set(split) == KEYS
        assert split["raw_text"] == [one.text for one in utterances]
        sentiments = [SENTIMENTS.index(one.sentiment) for one in utterances]
        assert split["classification_labels"].tolist() == sentiments
        assert split["regression_labels"].tolist() == [one - 1 for one in sentiments]
        assert split["regression_labels"].dtype == np.float32
        assert split["emotion_labels"].tolist() == [EMOTIONS.index(o.emotion) for o in utterances]
        assert split["annotations"] == [one.sentiment.capitalize() for one in utterances]
    ids = [one for split in data.values() for one in split["id"]]
    assert len(set(ids)) == len(stored.utterances)
    assert "train/dia2_utt0".replace("_utt", "$_$utt") in data["train"]["id"]
    assert "dev$_$Zoë “the 1st” 🎬" in data["valid"]["id"]


def test_mmsa_unaligned_keeps_every_step(stored: Stored, tmp_path: Path) -> None:
    report = write(stored.store, tmp_path / "m.pkl", "mmsa", ref=stored.snapshot)
    data, details = load(tmp_path / "m.pkl"), provenance(report)["details"]
    sizes = [
        len(one["frames"]) for one in stored.records[VOICE.name].values() if isinstance(one, dict)
    ]
    limit = int(np.mean(sizes) + 3 * np.std(sizes))
    assert max(sizes) == 2000 > limit
    assert (details["audio"]["n_steps"], details["audio"]["utterances_cut"]) == (limit, 1)
    assert any(one == f"audio: 1 utterances cut after {limit} steps" for one in report.warnings)
    n_steps = {"audio": limit, "vision": 3, "text": 1}
    for name, utterances in by_split(stored):
        for key, (spec, array) in MODALITIES.items():
            padded, lengths = data[name][key], data[name][f"{key}_lengths"]
            assert padded.shape == (len(utterances), n_steps[key], spec.array(array).shape[-1])
            assert padded.dtype == spec.array(array).dtype
            for one, values, length in zip(utterances, padded, lengths, strict=True):
                steps = steps_of(stored.records[spec.name][one.id], array)[: n_steps[key]]
                assert length == len(steps)
                assert steps.tobytes() == values[:length].tobytes()
                assert not values[length:].any()


def test_mmsa_says_that_zeros_are_missing_features(stored: Stored, tmp_path: Path) -> None:
    report = write(stored.store, tmp_path / "m.pkl", "mmsa", ref=stored.snapshot)
    assert any("audio 4, vision 4; models" in one for one in report.warnings)
    missing = {(m["utterance"], m["extractor"]) for m in provenance(report)["missing"]}
    data = load(tmp_path / "m.pkl")
    zero = set()
    for name, utterances in by_split(stored):
        for key, (spec, _) in MODALITIES.items():
            for one, length in zip(utterances, data[name][f"{key}_lengths"], strict=True):
                zero |= set() if length else {(one.id, spec.name)}
    assert zero == missing
    whole = write(stored.store, tmp_path / "w.pkl", "mmsa", ref=stored.snapshot, complete=True)
    assert not any("zeros" in one for one in whole.warnings)
    split = load(tmp_path / "w.pkl")["train"]
    assert all(min(split[f"{key}_lengths"]) > 0 for key in MODALITIES)


def test_mmsa_writes_undefined_values_as_zero_and_counts_them(tmp_path: Path) -> None:
    """The steps are masked in one channel only, as pitch is where nobody speaks."""
    utterances = [_labelled(one, number) for number, one in enumerate(corpus(3))]
    extract(tmp_path / "s", utterances, SPECS)
    with open_run(str(tmp_path / "s"), (replace(PICTURES, version=2),), partition=4) as run:
        run.sync(utterances)
        masked = {row: _masked_channel(one) for row, one in enumerate(utterances)}
        _merge(run, replace(PICTURES, version=2), masked)
        run.publish()
    report = write(tmp_path / "s", tmp_path / "m.pkl", "mmsa")
    vision = load(tmp_path / "m.pkl")["train"]["vision"][0]
    assert not vision[:, 2].any()
    assert vision[:, [0, 1, 3, 4]].all()
    assert provenance(report)["details"]["vision"]["nan_written_as_zero"] == 9
    assert any("vision: 9 values that were NaN are 0" in one for one in report.warnings)


def test_mmsa_says_that_a_clip_is_too_short_for_a_step(tmp_path: Path) -> None:
    utterances = [_labelled(one, number) for number, one in enumerate(corpus(6))]
    utterances[4] = replace(utterances[4], clip=replace(utterances[4].clip, seconds=0.01))
    extract(tmp_path / "s", utterances, SPECS)
    report = write(tmp_path / "s", tmp_path / "m.pkl", "mmsa")
    assert load(tmp_path / "m.pkl")["valid"]["audio_lengths"][1] == 0
    found = provenance(report)
    assert found["missing"] == []
    assert found["details"]["audio"]["utterances_without_a_step"] == ["dev/dia1_utt1"]
    assert found["details"]["vision"]["utterances_without_a_step"] == []
    assert any(one.startswith("audio: 1 utterances have the feature") for one in report.warnings)


def test_mmsa_takes_the_embedding_of_a_text_and_not_the_layers_below_it(tmp_path: Path) -> None:
    layers = ArraySpec(name="layers", dims=("layer", "channel"), shape=(7, 4), dtype="float16")
    words = replace(WORDS, arrays=(*WORDS.arrays, layers))
    extract(tmp_path / "s", corpus(3), (VOICE, PICTURES, words))
    write(tmp_path / "s", tmp_path / "m.pkl", "mmsa")
    said = expected(words, utterance(0))
    assert isinstance(said, dict)
    np.testing.assert_array_equal(
        load(tmp_path / "m.pkl")["train"]["text"], said["embedding"][None, None]
    )


def _masked_channel(one: Utterance) -> Features:
    steps = np.ones((3, 5), np.float16)
    steps[:, 2] = np.nan
    return {
        "steps": steps,
        "index": np.zeros(3, np.int32),
        "brightness": np.array(one.utterance, np.float32),
    }


def _merge(run: Any, spec: FeatureSpec, records: Mapping[int, Features]) -> None:
    from meldflow.storage.writing.partition import Result, write_partition

    results = {row: Result(record=one, seconds=0.1) for row, one in records.items()}
    run.merge(
        write_partition(run.fork(), 0, {spec.name: results}, (spec,), partition_size=run.partition)
    )


@pytest.mark.parametrize(
    ("specs", "message"),
    [
        (SPECS[:2], "of text there is none"),
        (
            (*SPECS, replace(VOICE, name="audio/other")),
            "of audio there is audio/other, audio/voice",
        ),
    ],
)
def test_mmsa_takes_one_extractor_of_each_modality(
    tmp_path: Path, specs: tuple[FeatureSpec, ...], message: str
) -> None:
    extract(tmp_path / "s", corpus(3), specs)
    with pytest.raises(UsageError, match=message):
        write(tmp_path / "s", tmp_path / "m.pkl", "mmsa")
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s", "s.lock"]


def test_mmsa_leaves_out_what_it_cannot_hold_and_says_so(tmp_path: Path) -> None:
    utterances = corpus(6)
    utterances[0] = replace(utterances[0], sentiment="")
    utterances[1] = replace(utterances[1], split="clips")
    extract(tmp_path / "s", utterances, SPECS)
    report = write(tmp_path / "s", tmp_path / "m.pkl", "mmsa")
    assert report.left_out == {
        "in none of the splits train, dev and test": 1,
        "no sentiment of negative, neutral and positive": 1,
    }
    assert report.utterances == 4
    assert provenance(report)["utterances"]["left_out"] == report.left_out
    extract(tmp_path / "s", [one for one in utterances if one.split != "test"], SPECS)
    with pytest.raises(UsageError, match="no utterance of test is left"):
        write(tmp_path / "s", tmp_path / "n.pkl", "mmsa")


class Stopped(Exception):
    """What stops an export in its middle."""


@pytest.mark.parametrize("format_name", exports.FORMATS)
def test_an_export_that_stops_leaves_nothing(
    stored: Stored, tmp_path: Path, format_name: str
) -> None:
    done = 0

    def stop(amount: int) -> None:
        nonlocal done
        done += amount
        if done > 40:
            raise Stopped

    selection = exports.select(open_store(str(stored.store), stored.snapshot), ref="x")
    with pytest.raises(Stopped):
        exports.export(
            selection, format_name=format_name, target=tmp_path / "e", command="", advance=stop
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format_name", exports.FORMATS)
def test_progress_adds_up_and_nothing_hidden_stays(
    stored: Stored, tmp_path: Path, format_name: str
) -> None:
    selection = exports.select(open_store(str(stored.store), stored.snapshot), ref="x")
    told: list[int] = []
    exports.export(
        selection, format_name=format_name, target=tmp_path / "e", command="", advance=told.append
    )
    assert sum(told) == selection.total
    left = {"e", "e.provenance.json"} if format_name.startswith("mmsa") else {"e"}
    assert {one.name for one in tmp_path.iterdir()} == left
    assert (tmp_path / "e").stat().st_mode & 0o444 == 0o444


def _file(path: Path) -> Path:
    path.write_text("mine")
    return path


def _folder(path: Path) -> Path:
    path.mkdir()
    return path


def _link(path: Path) -> Path:
    path.symlink_to("nowhere")
    return path


def _below_a_file(path: Path) -> Path:
    path.write_text("mine")
    return path / "e"


def _provenance(path: Path) -> Path:
    _file(path.with_name("e.provenance.json"))
    return path


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_file, "it exists"),
        (_folder, "it exists"),
        (_link, "it exists"),
        (_provenance, "it exists"),
        (_below_a_file, "is a file"),
        (lambda path: path.parent / "s" / "e", "inside the store"),
        (lambda _: Path("/"), "name a path"),
    ],
)
def test_targets_that_are_refused(
    stored: Stored, tmp_path: Path, prepare: Callable[[Path], Path], message: str
) -> None:
    shutil.copytree(stored.store, tmp_path / "s")
    target = prepare(tmp_path / "e")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(UsageError, match=message):
        write(tmp_path / "s", target, "mmsa")
    assert sorted(tmp_path.iterdir()) == before


def test_what_is_not_there_is_said(stored: Stored, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="format 'csv': there are zarr, parquet, mertools, mmsa"):
        write(stored.store, tmp_path / "e", "csv")
    with pytest.raises(UsageError, match=r"it holds .*, not 'audio/none'"):
        write(stored.store, tmp_path / "e", "zarr", only=("audio/none",))
    with open_run(str(tmp_path / "empty"), SPECS, partition=4):
        pass
    with pytest.raises(UsageError, match="it is empty"):
        write(tmp_path / "empty", tmp_path / "e", "zarr")
    extract(tmp_path / "s", [utterance(0, text="silent")], SPECS)
    with pytest.raises(UsageError, match="no utterance is left"):
        write(tmp_path / "s", tmp_path / "e", "zarr", complete=True)


WIDE = 2048
"""Channels, so that the features outweigh what Zarr and Arrow need for themselves."""


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Selection:
    """Twelve times as many features as a partition holds."""
    store = tmp_path_factory.mktemp("large") / "s"
    wide = (voice_spec(width=WIDE),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 512)
        patch.setattr("meldflow.storage.writing.partition.SHARD_FRAMES", 512)
        extract(store, corpus(48), wide)
    return exports.select(open_store(str(store)), ref="main")


@pytest.mark.parametrize("format_name", READERS)
def test_memory_is_bounded_by_partitions(
    large: Selection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_name: str
) -> None:
    monkeypatch.setattr("meldflow.storage.format.layout.SHARD_FRAMES", 128)
    writer_of(format_name)
    (frames, _) = large.extractors[0].arrays
    assert isinstance(frames, RaggedArray)
    whole = int(frames.row_size.sum()) * WIDE * 2
    tracemalloc.start()
    try:
        exports.export(
            large, format_name=format_name, target=tmp_path / "e", command="", advance=nowhere
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < whole / 2
