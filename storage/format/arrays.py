"""The feature arrays of a snapshot, read by rows.

What reading costs is requests more than bytes, so the rows of one partition come by one read,
whatever their number, and by whole shards where that pays.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.models.schema.features import ArraySpec
from meldflow.storage.format.columns import Column, ColumnTable, array_of

GATHERED = 4096
"""Rows that are read at once where many are wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FixedArray:
    """An array with one value of the same shape per row."""

    spec: ArraySpec
    values: zarr.Array[Any]
    """Shape (n_rows, …)."""
    stale: NDArray[np.bool_]
    """Rows whose value counts as missing, shape (n_rows,)."""

    def read(self, rows: NDArray[np.int64]) -> Sequence[NDArray[Any]]:
        """The values of ``rows``, ascending, by one read from the first of them to the last."""
        if not rows.size:
            return []
        block, begin = read_span(self.values, int(rows[0]), int(rows[-1]) + 1)
        block[rows[self.stale[rows]] - begin] = self.values.fill_value
        return [np.asarray(block[row - begin]) for row in rows.tolist()]

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The values of ``rows``, ascending, shape (n_rows, …); never many more in memory."""
        found = np.empty((rows.size, *self.values.shape[1:]), self.values.dtype)
        done = 0
        for some in by_partition(rows, GATHERED):
            first, last = int(some[0]), int(some[-1]) + 1
            found[done : done + some.size] = np.asarray(self.values[first:last])[some - first]
            done += some.size
        found[self.stale[rows]] = self.values.fill_value
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RaggedArray:
    """An array with any number of frames per row; failed and stale rows have none."""

    spec: ArraySpec
    values: zarr.Array[Any]
    """The frames of all rows one after another, shape (n_frames, …)."""
    start: NDArray[np.int64]
    """Each row's first frame, shape (n_rows,)."""
    row_size: NDArray[np.int64]
    """Each row's number of frames, shape (n_rows,)."""

    def read(self, rows: NDArray[np.int64]) -> Sequence[NDArray[Any]]:
        """The frames of ``rows``, by one read from the first of their frames to the last.

        The rows have to be of one partition, whose frames lie in one slot; between those of
        different partitions lie other slots, which would be read as well.
        """
        starts, stops = self.start[rows], self.start[rows] + self.row_size[rows]
        # A row that was never written has its start at 0, far from its partition's slot.
        written = stops > starts
        first, last = 0, 0
        if written.any():
            first, last = int(starts[written].min()), int(stops[written].max())
        block, begin = read_span(self.values, first, last)
        spans = zip((starts - begin).tolist(), (stops - begin).tolist(), strict=True)
        return [block[start:stop] if stop > start else block[:0] for start, stop in spans]

    def gather(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """The frames of ``rows`` of one partition without gaps, shape (n_frames, …)."""
        return np.concatenate(self.read(rows))


FeatureArray: TypeAlias = FixedArray | RaggedArray


def open_array(group: zarr.Group, spec: ArraySpec, stale: NDArray[np.bool_]) -> FeatureArray:
    """The array that ``spec`` describes, in its extractor's group, without its ``stale`` rows."""
    values = array_of(group, spec.name)
    if spec.rate is None:
        return FixedArray(spec=spec, values=values, stale=stale)
    start, row_size = f"{spec.name}_start", f"{spec.name}_row_size"
    ends = ColumnTable(group, [Column(name, "int64", 0) for name in (start, row_size)])
    sizes = np.where(stale, 0, ends[row_size])
    return RaggedArray(spec=spec, values=values, start=ends[start], row_size=sizes)


def read_span(values: zarr.Array[Any], first: int, last: int) -> tuple[NDArray[Any], int]:
    """Entries ``first`` to ``last`` (exclusive), maybe with their neighbours; and which is first.

    A shard asked for whole comes by one request, and else each of its chunks by its own: for
    partitions of wav2vec2 frames that took 0.7 of the CPU. Chunks that were never written are
    not stored, so what is read in vain are the neighbours; hence not for a small part.
    """
    shard = values.shards[0] if values.shards else 1
    begin, end = first // shard * shard, -(-last // shard) * shard
    if 2 * (last - first) < end - begin:
        begin, end = first, last
    return np.asarray(values[begin:end]), begin


def by_partition(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Ascending ``rows`` parted into those of one partition each, of ``size`` rows."""
    if not rows.size:
        return []
    return np.split(rows, np.flatnonzero(np.diff(rows // size)) + 1)
