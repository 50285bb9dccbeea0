"""A plain Zarr v3 store: a folder that zarr-python and xarray open without Icechunk.

``/utterances`` holds the catalogue, and every extractor has a group of its own name, with the
dimensions and labels that ``Snapshot.dataset`` gives it. A ragged array is in CF's contiguous
ragged form: utterance i owns ``frames[frame_offset[i] : frame_offset[i] + frame_row_size[i]]``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.models.schema.features import ArraySpec
from meldflow.storage.exports.formats import Advance, Outcome
from meldflow.storage.exports.selection import Exported, Selection
from meldflow.storage.format import layout
from meldflow.storage.format.arrays import RaggedArray
from meldflow.storage.format.axes import UTTERANCE, axes_of, described
from meldflow.storage.format.columns import create_column

SHARD_ROWS = 512
"""Rows per shard of a fixed-size array: 20 MiB of the ten ResNet-50 frames."""

_STATE = ("status", "reason", "message", "key", "stale", "present")
"""Columns that label an extractor's utterances; xarray makes coordinates of them."""


def write(selection: Selection, target: Path, advance: Advance) -> Outcome:
    """Writes the store partition by partition; at most one shard per array is in memory."""
    snapshot = selection.snapshot
    origin = {"snapshot": snapshot.id, "store": snapshot.url, "ref": selection.ref}
    root = zarr.create_group(target, zarr_format=3, attributes={"meldflow_export": origin})
    columns = selection.utterances()
    utterances = root.create_group(layout.UTTERANCES)
    for name, values in columns.items():
        _column(utterances, name, values, UTTERANCE)
    for one in selection.extractors:
        _extractor(root, one, selection, columns[UTTERANCE], advance)
    with warnings.catch_warnings():
        # Zarr warns that its v3 specification does not know consolidated metadata yet. With
        # them xarray opens a group in one read, and readers without them look past them.
        warnings.simplefilter("ignore")
        zarr.consolidate_metadata(target)
    return Outcome(selection=selection)


def _extractor(
    root: zarr.Group,
    one: Exported,
    selection: Selection,
    ids: NDArray[Any],
    advance: Advance,
) -> None:
    sizes = {
        array.spec.name: array.row_size[selection.rows]
        for array in one.arrays
        if isinstance(array, RaggedArray)
    }
    axes = axes_of((array.spec for array in one.arrays), sizes)
    # A group's "coordinates" attribute makes xarray label the utterances with these variables.
    coordinates = [*_STATE, *(name for axis in axes.frames.values() for name in axis.attributes())]
    attributes = {**one.attributes, "coordinates": " ".join(coordinates), "Conventions": "CF-1.12"}
    group = root.create_group(one.name, attributes=attributes)
    for name, values in {UTTERANCE: ids, **one.columns(selection.rows)}.items():
        _column(group, name, values, UTTERANCE)
    for dim, names in axes.labels.items():
        _column(group, dim, np.array(names, dtype=object), dim)
    for axis in axes.frames.values():
        size, offset, time = axis.attributes().items()
        _column(group, size[0], axis.row_size, UTTERANCE, size[1])
        _column(group, offset[0], axis.offset, UTTERANCE, offset[1])
        _column(group, time[0], axis.seconds(np.arange(axis.size)), axis.name, time[1])
    appenders = [
        (array, _array(group, array.spec, axes.dims[array.spec.name], len(selection.rows), sizes))
        for array in one.arrays
    ]
    for rows in selection.partitions():
        for array, appender in appenders:
            appender.add(_marked(array.gather(rows), array.spec, one.has(rows)))
            advance(len(rows))
    for _, appender in appenders:
        appender.close()


def _column(
    group: zarr.Group, name: str, values: NDArray[Any], dim: str, told: dict[str, Any] | None = None
) -> None:
    array = create_column(group, name, values.shape, values.dtype, (dim,), attributes=told)
    array[:] = values


def _array(
    group: zarr.Group,
    spec: ArraySpec,
    dims: tuple[str, ...],
    n_rows: int,
    sizes: Mapping[str, NDArray[np.int64]],
) -> _Appender:
    is_ragged = spec.rate is not None
    shard = layout.SHARD_FRAMES if is_ragged else SHARD_ROWS
    length = int(sizes[spec.name].sum()) if is_ragged else n_rows
    mark = _mark(spec)
    attributes = described(spec) | ({} if mark is None else {"_FillValue": mark})
    array = layout.create_features(group, spec, length, shard, dims, attributes)
    return _Appender(array, shard)


def _mark(spec: ArraySpec) -> int | None:
    """What an integer array holds where the feature is missing: no value that it could have."""
    is_marked = spec.rate is None and np.dtype(spec.dtype).kind == "i"
    return int(np.iinfo(spec.dtype).min) if is_marked else None


def _marked(values: NDArray[Any], spec: ArraySpec, has: NDArray[np.bool_]) -> NDArray[Any]:
    mark = _mark(spec)
    if mark is not None:
        values[~has] = mark
    return values


class _Appender:
    """Fills an array from its start, in whole shards: a part of one would be read again."""

    def __init__(self, array: zarr.Array[Any], shard: int) -> None:
        self._array, self._shard = array, shard
        self._written = 0
        self._waiting: list[NDArray[Any]] = []

    def add(self, block: NDArray[Any]) -> None:
        self._waiting.append(block)
        waiting = sum(map(len, self._waiting))
        if waiting >= self._shard:
            self._write(waiting - waiting % self._shard)

    def close(self) -> None:
        self._write(sum(map(len, self._waiting)))

    def _write(self, count: int) -> None:
        if not count:
            return
        whole = np.concatenate(self._waiting)
        self._array[self._written : self._written + count] = whole[:count]
        self._written += count
        self._waiting = [whole[count:].copy()]  # a view would keep the whole of it alive
