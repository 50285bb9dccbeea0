"""Which arrays a store has: names, dims, chunks, codecs.

``/utterances`` holds the catalogue. Every extractor has a group of its own name with its
state (one entry per row), its fixed-size arrays (row, …) and its ragged arrays. A ragged
array is the frames of all rows one after another, with ``<name>_start`` and
``<name>_row_size`` per row (the CF "contiguous ragged array"), and ``<name>_slot`` per
partition: the whole shards that this partition alone may write.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import TypeAdapter
from zarr.codecs import BloscCodec, ZstdCodec

from meldflow.models.schema.features import NEVER_EXTRACTED, ArraySpec, FeatureSpec
from meldflow.storage.format.columns import Column, ColumnTable, group_in

NEVER, OK, FAILED = 0, 1, 2
"""States of a row in an extractor's ``status`` column."""

SHARD_FRAMES = 16_384
"""Frames per shard of a ragged array: five and a half minutes at 50 frames/s."""

CHUNK_BYTES = 256 * 1024
"""Aim for the size of a chunk; 128 wav2vec2 frames in half precision (measured best)."""

OWN = UTTERANCES, FACTS, RUNS, ATTACHED = "utterances", "facts", "runs", "attached"
"""The groups that are no extractors'; what runs attached is in ``attached/<row of the run>``."""

UTTERANCE_COLUMNS = (
    Column("split", "str", ""),
    Column("dialogue", "int32", -1),
    Column("utterance", "int32", -1),
    Column("name", "str", ""),
    Column("speaker", "str", ""),
    Column("text", "str", ""),
    Column("emotion", "str", ""),
    Column("sentiment", "str", ""),
    Column("seconds", "float32", np.nan),
    Column("clip_path", "str", ""),
    Column("clip_seconds", "float32", np.nan),
    Column("clip_size", "int64", 0),
    Column("clip_mtime_ns", "int64", 0),
    Column("clip_sha", "uint8", 0, (32,)),
    Column("text_sha", "uint8", 0, (32,)),
    Column("active", "uint8", 0),  # 0: no longer in the data set; rows are never reused
)

STATE_COLUMNS = (
    Column("status", "uint8", NEVER),
    Column("reason", "str", ""),
    Column("message", "str", ""),
    Column("key", "str", ""),
    Column("source_sha", "uint8", 0, (32,)),
    Column("seconds", "float32", np.nan),
    Column("run", "int32", -1),  # row of /runs
)


def reasons(state: ColumnTable, rows: NDArray[np.int64] | slice = slice(None)) -> NDArray[Any]:
    """Why each of ``rows`` lacks the feature, shape (n_rows,); empty where it has it."""
    return np.where(state["status"][rows] == NEVER, NEVER_EXTRACTED, state["reason"][rows])


def ragged_arrays(spec: FeatureSpec) -> tuple[ArraySpec, ...]:
    """The arrays of ``spec`` that have one row per frame."""
    return tuple(array for array in spec.arrays if array.rate is not None)


def state_columns(spec: FeatureSpec) -> tuple[Column, ...]:
    """The per-row columns of an extractor: its state, and where its frames lie."""
    ends = ("start", "row_size")
    frames = [Column(f"{a.name}_{end}", "int64", 0) for a in ragged_arrays(spec) for end in ends]
    return (*STATE_COLUMNS, *frames)


def describe(spec: FeatureSpec) -> dict[str, Any]:
    """The attributes of an extractor's group: what is needed to know its features again."""
    described = dataclasses.asdict(spec)
    described["weights"].pop("location")
    described["key"] = spec.key
    return json.loads(json.dumps(described))  # type: ignore[no-any-return]


_SPECS = TypeAdapter(tuple[ArraySpec, ...])


def array_specs(attributes: Mapping[str, Any]) -> dict[str, ArraySpec]:
    """The arrays of an extractor by name, from what ``describe`` wrote."""
    # Of another release, which knew fewer fields or more.
    return {one.name: one for one in _SPECS.validate_python(attributes["arrays"])}


def fits(group: zarr.Group, spec: FeatureSpec) -> bool:
    """Whether the group has the arrays of ``spec``, whatever it says of their meaning."""
    stored = array_specs(group.attrs).values()
    return {_stored_as(one) for one in stored} == {_stored_as(one) for one in spec.arrays}


def _stored_as(array: ArraySpec) -> tuple[object, ...]:
    return array.name, array.shape, array.dtype, array.rate


def partition_of(root: zarr.Group) -> int:
    """Utterances per partition, fixed when the store was created."""
    return int(root.attrs["partition"])  # type: ignore[arg-type]


def utterance_table(root: zarr.Group | None, **others: Any) -> ColumnTable:
    """The catalogue; without rows where there is no store, or nothing was ever published."""
    return ColumnTable(group_in(root, UTTERANCES), UTTERANCE_COLUMNS, **others)


def state_table(root: zarr.Group | None, spec: FeatureSpec) -> ColumnTable:
    """The extractor's state; no rows where its arrays are not there or have to be made anew."""
    group = group_in(root, spec.name)
    held = group if group is not None and fits(group, spec) else None
    return ColumnTable(held, state_columns(spec))


def create_extractor(root: zarr.Group, spec: FeatureSpec, *, partition: int) -> zarr.Group:
    """An extractor's group with its feature arrays, which have no rows yet."""
    group = root.create_group(spec.name, attributes=describe(spec))
    for array in spec.arrays:
        # Each dimension is the array's own, so that xarray sees no conflict of sizes.
        dims = [f"{array.name}_{dim}" for dim in array.dims]
        if array.rate is None:
            create_features(group, array, 0, partition, ["row", *dims])
        else:
            ends = {end: f"{array.name}_{end}" for end in ("start", "row_size")}
            told = {"ragged": ends, "rate_hz": array.rate}
            dims[0] = f"{array.name}_frame"
            create_features(group, array, 0, SHARD_FRAMES, dims, told)
    return group


def allocate_slots(slots: ColumnTable, array: ArraySpec, frames_needed: NDArray[np.int64]) -> int:
    """Gives every partition whole shards for the frames it needs, and at least one shard.

    A partition that needs more than its slot holds gets a new one behind all others; its
    old frames stay readable where they are until the partition is written again. Gives the length
    of the array that has all slots.
    """
    name = f"{array.name}_slot"
    slot = slots[name]
    end = int(slot.sum(axis=1).max(initial=0))
    for partition, needed in enumerate(frames_needed.tolist()):
        size = max(1, -(-needed // SHARD_FRAMES)) * SHARD_FRAMES
        if size > slot[partition, 1]:
            slots.put([partition], {name: [[end, size]]})
            end += size
    return end


def create_features(
    group: zarr.Group,
    array: ArraySpec,
    length: int,
    shard: int,
    dims: Sequence[str],
    attributes: dict[str, Any] | None = None,
) -> zarr.Array[Any]:
    """A feature array of ``length`` rows or frames, ``shard`` of which make one object."""
    chunk = _rows_per_chunk(array, shard)
    is_sharded = array.rate is not None or chunk < shard
    return group.create_array(
        array.name,
        shape=(length, *array.shape),
        chunks=(chunk, *array.shape),
        shards=(shard, *array.shape) if is_sharded else None,
        dtype=array.dtype,
        # What a row without the feature holds.
        fill_value=float("nan") if np.dtype(array.dtype).kind == "f" else 0,
        compressors=_codec(array),
        attributes=attributes,
        dimension_names=dims,
    )


def _rows_per_chunk(array: ArraySpec, whole: int) -> int:
    """The largest divisor of ``whole`` rows that stays within ``CHUNK_BYTES``; at least one row."""
    row_bytes = int(np.prod(array.shape, dtype=np.int64)) * np.dtype(array.dtype).itemsize
    fitting = (n for n in range(2, whole + 1) if whole % n == 0 and n * row_bytes <= CHUNK_BYTES)
    return max(fitting, default=1)


def _codec(array: ArraySpec) -> BloscCodec | ZstdCodec:
    # Shuffling bytes helps smooth single-precision tracks (1.29 against 1.13) and does
    # nothing for half-precision embeddings, whose mantissas are noise.
    is_track = array.rate is not None and np.dtype(array.dtype).itemsize >= 4
    return BloscCodec(cname="zstd", clevel=1, shuffle="shuffle") if is_track else ZstdCodec(level=1)
