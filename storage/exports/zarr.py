"""A plain Zarr v3 store: a folder that zarr-python and xarray open without Icechunk.

``/utterances`` holds the catalogue, and every extractor has a group of its own name, with the
dimensions and labels that ``Snapshot.dataset`` gives it. A ragged array is in CF's contiguous
ragged form: utterance i owns ``frames[frame_offset[i] : frame_offset[i] + frame_row_size[i]]``.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.models.schema.features import ArraySpec
from meldflow.storage.exports.selection import Advance, Exported, Outcome, Selection
from meldflow.storage.format import layout
from meldflow.storage.format.arrays import RaggedArray
from meldflow.storage.format.axes import UTTERANCE, FrameAxis, axes_of, described
from meldflow.storage.format.columns import create_column

SHARD_ROWS = 512
"""Rows per shard of a fixed-size array: 20 MiB of the ten ResNet-50 frames."""


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
    root: zarr.Group, one: Exported, selection: Selection, ids: NDArray[Any], advance: Advance
) -> None:
    sizes = {
        array.spec.name: array.row_size[selection.rows]
        for array in one.arrays
        if isinstance(array, RaggedArray)
    }
    axes = axes_of((array.spec for array in one.arrays), sizes)
    # A group's "coordinates" attribute makes xarray label the utterances with these variables.
    state = one.columns(selection.rows)
    labels = [*state, *(name for name, dim, *_ in axes.coordinates() if name != dim)]
    attributes = {**one.attributes, "coordinates": " ".join(labels), "Conventions": "CF-1.12"}
    group = root.create_group(one.name, attributes=attributes)
    for name, values in {UTTERANCE: ids, **state}.items():
        _column(group, name, values, UTTERANCE)
    for name, dim, along, told in axes.coordinates():
        if isinstance(along, FrameAxis):
            along = along[:,]
        _column(group, name, along, dim, told)
    lengths = {array.spec.name: len(selection.rows) for array in one.arrays}
    lengths |= {name: int(size.sum()) for name, size in sizes.items()}
    appenders = [
        (array, _Appender(group, array.spec, axes.dims[array.spec.name], lengths[array.spec.name]))
        for array in one.arrays
    ]
    for rows in selection.partitions():
        for array, appender in appenders:
            appender.add(array.gather(rows), one.has(rows))
            advance(len(rows))
    for _, appender in appenders:
        appender.close()


def _column(
    group: zarr.Group, name: str, values: NDArray[Any], dim: str, told: dict[str, Any] | None = None
) -> None:
    array = create_column(group, name, values.shape, values.dtype, (dim,), attributes=told)
    array[:] = values


class _Appender:
    """Fills a new array from its start, in whole shards: a part of one would be read again."""

    def __init__(
        self, group: zarr.Group, spec: ArraySpec, dims: tuple[str, ...], length: int
    ) -> None:
        # Where the feature is missing, an integer array holds what no value can be.
        is_marked = spec.rate is None and np.dtype(spec.dtype).kind == "i"
        self._mark = int(np.iinfo(spec.dtype).min) if is_marked else None
        told = described(spec) | ({"_FillValue": self._mark} if is_marked else {})
        self._shard = SHARD_ROWS if spec.rate is None else layout.SHARD_FRAMES
        self._array = layout.create_features(group, spec, length, self._shard, dims, told)
        self._written = 0
        self._waiting: list[NDArray[Any]] = []

    def add(self, block: NDArray[Any], has: NDArray[np.bool_]) -> None:
        if self._mark is not None:
            block[~has] = self._mark
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
