"""A plain Zarr v3 store: a folder that zarr-python and xarray open without Icechunk.

``/utterances`` holds the catalogue, and every extractor has a group of its own name. A ragged
array ``frames`` is the frames of all rows one after another without gaps (the CF "contiguous
ragged array"): row i owns ``frames[offset[i] : offset[i] + row_size[i]]``, with the arrays
``frames_offset`` and ``frames_row_size``.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from meldflow.storage.exports.formats import Advance, Outcome
from meldflow.storage.exports.selection import Exported, Selection, Source
from meldflow.storage.format import layout
from meldflow.storage.format.columns import CHUNK

SHARD_ROWS = 512
"""Rows per shard of a fixed-size array: 20 MiB of the ten ResNet-50 frames."""


def write(selection: Selection, target: Path, advance: Advance) -> Outcome:
    """Writes the store partition by partition; at most one shard per array is in memory."""
    snapshot = selection.snapshot
    origin = {"snapshot": snapshot.id, "store": snapshot.url, "ref": selection.ref}
    root = zarr.create_group(target, zarr_format=3, attributes={"meldflow_export": origin})
    columns = selection.utterances()
    _columns(root.create_group(layout.UTTERANCES, attributes={"coordinates": "id"}), columns)
    for one in selection.extractors:
        _extractor(root, one, selection, columns["id"], advance)
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
    # A group's "coordinates" attribute makes xarray label the rows.
    attributes = {**one.attributes, "coordinates": "id"}
    group = root.create_group(one.name, attributes=attributes)
    _columns(group, {"id": ids, **one.columns(selection.rows)})
    appenders = [(source, _array(group, source, selection.rows)) for source in one.sources]
    for rows in selection.partitions():
        for source, appender in appenders:
            appender.add(source.read(rows))
            advance(len(rows))
    for _, appender in appenders:
        appender.close()


def _columns(group: zarr.Group, columns: Mapping[str, NDArray[Any]]) -> None:
    for name, values in columns.items():
        _column(group, name, values)


def _column(
    group: zarr.Group, name: str, values: NDArray[Any], attributes: dict[str, Any] | None = None
) -> None:
    array = group.create_array(
        name,
        shape=values.shape,
        chunks=(CHUNK,),
        dtype=str if values.dtype == object else values.dtype,
        compressors=ZstdCodec(level=1),
        dimension_names=("row",),
        attributes=attributes,
    )
    array[:] = values


def _array(group: zarr.Group, source: Source, rows: NDArray[np.int64]) -> _Appender:
    return (_ragged if source.is_ragged else _fixed)(group, source, rows)


def _ragged(group: zarr.Group, source: Source, rows: NDArray[np.int64]) -> _Appender:
    name, spec = source.spec.name, source.spec
    sizes = source.row_size[rows]
    ends = {"row_size": f"{name}_row_size", "offset": f"{name}_offset"}
    # CF's name for it; readers of contiguous ragged arrays look for this attribute.
    _column(group, ends["row_size"], sizes, {"sample_dimension": f"{name}_frame"})
    _column(group, ends["offset"], np.cumsum(sizes) - sizes)
    array = group.create_array(
        name,
        shape=(int(sizes.sum()), *spec.shape),
        chunks=(layout.rows_per_chunk(spec, layout.SHARD_FRAMES), *spec.shape),
        shards=(layout.SHARD_FRAMES, *spec.shape),
        dtype=spec.dtype,
        fill_value=layout.fill_of(spec),
        compressors=layout.frame_codec(spec),
        attributes={"ragged": ends, "rate_hz": spec.rate, "columns": list(spec.columns)},
        dimension_names=(f"{name}_frame", *layout.inner_dims(spec)),
    )
    return _Appender(array, layout.SHARD_FRAMES)


def _fixed(group: zarr.Group, source: Source, rows: NDArray[np.int64]) -> _Appender:
    spec = source.spec
    array = group.create_array(
        spec.name,
        shape=(len(rows), *spec.shape),
        chunks=(layout.rows_per_chunk(spec, SHARD_ROWS), *spec.shape),
        shards=(SHARD_ROWS, *spec.shape),
        dtype=spec.dtype,
        fill_value=layout.fill_of(spec),
        compressors=ZstdCodec(level=1),
        attributes={"columns": list(spec.columns)},
        dimension_names=("row", *layout.inner_dims(spec)),
    )
    return _Appender(array, SHARD_ROWS)


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
