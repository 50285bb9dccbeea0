"""Stored arrays as xarray loads them: what lies apart in the store is one array without gaps."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from meldflow.storage.format.arrays import RaggedArray, read_span
from meldflow.storage.format.axes import FrameAxis


class _Along(BackendArray):
    """An array that is made from a range of its first dimension."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def between(self, first: int, last: int) -> NDArray[Any]:
        """Entries ``first`` to ``last`` (exclusive)."""
        raise NotImplementedError

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        support = indexing.IndexingSupport.BASIC
        return indexing.explicit_indexing_adapter(key, self.shape, support, self._get)

    def _get(self, key: tuple[Any, ...]) -> Any:
        first, *inner = key
        wanted = range(self.shape[0])[first]
        if isinstance(wanted, int):
            return self.between(wanted, wanted + 1)[(0, *inner)]
        if not wanted:
            return np.empty((0, *self.shape[1:]), self.dtype)[(slice(None), *inner)]
        low = min(wanted[0], wanted[-1])
        block = self.between(low, max(wanted[0], wanted[-1]) + 1)
        return block[(np.arange(wanted.start, wanted.stop, wanted.step) - low, *inner)]


class Pieces(_Along):
    """Parts of a stored array, one after another."""

    def __init__(self, values: zarr.Array[Any], bounds: NDArray[np.int64]) -> None:
        """The pieces of ``values`` between ``bounds``, shape (n_pieces, 2): first and last + 1."""
        self._values, self._bounds = values, bounds
        self.sizes = bounds[:, 1] - bounds[:, 0]
        self._ends = np.cumsum(self.sizes)
        self.shape = (int(self.sizes.sum()), *values.shape[1:])
        self.dtype = np.dtype(values.dtype)

    @classmethod
    def of(cls, array: RaggedArray) -> Pieces:
        """The frames of all rows in their order; those of a partition lie together."""
        rows = np.flatnonzero(array.row_size)
        starts, stops = array.start[rows], array.start[rows] + array.row_size[rows]
        apart = starts[1:] != stops[:-1]
        first, last = np.insert(apart, 0, True), np.append(apart, True)
        kept = slice(len(rows))  # none of none
        bounds = np.stack([starts[first[kept]], stops[last[kept]]], axis=1)
        return cls(array.values, bounds)

    def between(self, first: int, last: int) -> NDArray[Any]:
        """Entries ``first`` to ``last`` (exclusive), by one read for each piece."""
        parts = []
        low_piece, high_piece = np.searchsorted(self._ends, (first, last - 1), side="right")
        for piece in range(low_piece, high_piece + 1):
            begin, end = self._bounds[piece]
            before = int(self._ends[piece] - self.sizes[piece])
            low, high = begin + max(first - before, 0), min(begin + last - before, end)
            block, at = read_span(self._values, int(low), int(high))
            parts.append(block[low - at : high - at])
        return np.concatenate(parts)


class Times(_Along):
    """When each frame of an axis begins; nothing is held of it."""

    def __init__(self, axis: FrameAxis) -> None:
        self._axis = axis
        self.shape = (axis.size,)
        self.dtype = np.dtype(np.float64)

    def between(self, first: int, last: int) -> NDArray[Any]:
        """Seconds of the frames ``first`` to ``last`` (exclusive)."""
        return self._axis.seconds(np.arange(first, last))
