"""A plain Zarr v3 store: a folder that zarr-python and xarray open without Icechunk.

``/utterances`` holds the catalogue, and every extractor has a group of its own name, with the
dimensions and labels that ``Snapshot.dataset`` gives it. A ragged array is in CF's contiguous
ragged form: utterance i owns ``frames[frame_offset[i] : frame_offset[i] + frame_row_size[i]]``.
"""

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.storage.exports.selection import Advance, Exported, Outcome, Selection
from meldflow.storage.format import layout
from meldflow.storage.format.arrays import FeatureArray, RaggedArray
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
    for name, dim, along, about in axes.coordinates():
        values = along[:,] if isinstance(along, FrameAxis) else along
        _column(group, name, values, dim, about)
    for array in one.arrays:
        spec, size = array.spec, sizes.get(array.spec.name)
        length = len(selection.rows) if size is None else int(size.sum())
        shard = SHARD_ROWS if size is None else layout.SHARD_FRAMES
        # Where the feature is missing, an integer array holds what no value can be.
        is_marked = size is None and np.dtype(spec.dtype).kind == "i"
        mark = {"_FillValue": int(np.iinfo(spec.dtype).min)} if is_marked else {}
        told: dict[str, Any] = {**described(spec), **mark}
        stored = layout.create_features(group, spec, length, shard, axes.dims[spec.name], told)
        written = 0
        for block in _shards(array, one, selection, shard, mark.get("_FillValue"), advance):
            stored[written : written + len(block)] = block
            written += len(block)


def _shards(
    array: FeatureArray,
    one: Exported,
    selection: Selection,
    shard: int,
    mark: int | None,
    advance: Advance,
) -> Iterator[NDArray[Any]]:
    """The values of the selection by whole shards, and the rest: a part would be read again."""
    waiting: list[NDArray[Any]] = []
    for rows in selection.partitions():
        waiting.append(array.gather(rows))
        if mark is not None:
            waiting[-1][~one.has(rows)] = mark
        advance(len(rows))
        whole = sum(map(len, waiting)) // shard * shard
        if whole:
            held = np.concatenate(waiting)
            yield held[:whole]
            waiting = [held[whole:].copy()]  # a view would keep all of it alive
    yield np.concatenate(waiting)


def _column(
    group: zarr.Group, name: str, values: NDArray[Any], dim: str, told: dict[str, Any] | None = None
) -> None:
    array = create_column(group, name, values.shape, values.dtype, (dim,), attributes=told)
    array[:] = values
