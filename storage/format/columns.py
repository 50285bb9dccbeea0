"""Small columns: one value per row, held in memory, written by the committer alone.

The catalogue and the state of every extractor (status, key, checksum, …) are such columns.
Workers never write them: a fork that shares a chunk with another fork is merged without any
check, and the loser's values are gone. One writer also allows large chunks, so that a plan
reads a few objects even at a million rows.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import zarr
from numpy.typing import ArrayLike, DTypeLike, NDArray
from zarr.codecs import ZstdCodec

CHUNK = 4096
"""Rows per chunk."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, NumPy dtype (``str`` for text) and what an unwritten row holds."""

    name: str
    dtype: str
    fill: Any
    inner: tuple[int, ...] = ()

    @property
    def memory_dtype(self) -> Any:
        """Text is held as objects: NumPy's fixed-width strings would cut it."""
        return object if self.dtype == "str" else np.dtype(self.dtype)


class ColumnTable:
    """Columns of equal length, read whole and written back by changed chunks."""

    def __init__(
        self, columns: Sequence[Column], arrays: Mapping[str, NDArray[Any]], dimension: str = "row"
    ) -> None:
        self._columns = tuple(columns)
        self._dimension = dimension
        self._arrays = dict(arrays)
        self._dirty: dict[str, set[int]] = {column.name: set() for column in columns}

    @classmethod
    def read(
        cls, group: zarr.Group | None, columns: Sequence[Column], dimension: str = "row"
    ) -> Self:
        """Reads the arrays of ``group``; there are no rows where it, or all of them, are not there.

        A column that the release which wrote them did not know holds its fill value.
        """
        there: dict[str, zarr.Array[Any]] = {}
        if group is not None:
            there = {c.name: array_of(group, c.name) for c in columns if c.name in group}
        length = max((one.shape[0] for one in there.values()), default=0)
        arrays = {
            c.name: np.asarray(there[c.name][:]).astype(c.memory_dtype)
            if c.name in there
            else _filled(c, length)
            for c in columns
        }
        return cls(columns, arrays, dimension)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The whole column; change it through ``put`` only."""
        return self._arrays[name]

    def __contains__(self, name: str) -> bool:
        return name in self._arrays

    def __len__(self) -> int:
        return len(self._arrays[self._columns[0].name])

    def copy(self) -> Self:
        """The same values, which change no more when this table does."""
        arrays = {name: values.copy() for name, values in self._arrays.items()}
        return type(self)(self._columns, arrays, self._dimension)

    def grow(self, n_rows: int) -> None:
        """Appends rows that hold the fill values, up to ``n_rows`` in all."""
        for column in self._columns:
            held = self._arrays[column.name]
            self._arrays[column.name] = np.concatenate([held, _filled(column, n_rows - len(held))])

    def put(self, rows: ArrayLike, values: Mapping[str, ArrayLike]) -> None:
        """Sets ``values`` (one entry per row, or a scalar) at ``rows``."""
        index = np.asarray(rows, dtype=np.int64)
        chunks = set((index // CHUNK).tolist())
        for name, value in values.items():
            self._arrays[name][index] = value
            self._dirty[name] |= chunks

    def write(self, group: zarr.Group) -> None:
        """Writes the chunks that changed, into arrays of the table's length: resized, or new."""
        for column in self._columns:
            if column.name not in group:
                dims = (self._dimension, *(f"{column.name}_entry" for _ in column.inner))
                shape = (len(self), *column.inner)
                create_column(group, column.name, shape, column.dtype, dims, fill_value=column.fill)
            array = array_of(group, column.name)
            if array.shape[0] != len(self):
                array.resize((len(self), *column.inner))
            for chunk in sorted(self._dirty[column.name]):
                rows = slice(chunk * CHUNK, min((chunk + 1) * CHUNK, len(self)))
                array[rows] = self._arrays[column.name][rows]
            self._dirty[column.name].clear()


def create_column(
    group: zarr.Group,
    name: str,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    dims: tuple[str, ...],
    **others: Any,
) -> zarr.Array[Any]:
    """A small array with one entry per row; ``others`` are more of what Zarr may be told."""
    return group.create_array(
        name,
        shape=shape,
        chunks=(CHUNK, *shape[1:]),
        dtype=str if np.dtype(dtype).kind in "OU" else dtype,
        compressors=ZstdCodec(level=1),
        dimension_names=dims,
        **others,
    )


def _filled(column: Column, n_rows: int) -> NDArray[Any]:
    return np.full((n_rows, *column.inner), column.fill, column.memory_dtype)


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """The array called ``name`` in ``group``.

    Raises:
        TypeError: it is a group.
    """
    member = group[name]
    if not isinstance(member, zarr.Array):
        raise TypeError(f"{group.path}/{name} is not an array")
    return member


def group_of(group: zarr.Group, name: str) -> zarr.Group:
    """The group called ``name`` in ``group``.

    Raises:
        TypeError: it is an array.
    """
    member = group[name]
    if not isinstance(member, zarr.Group):
        raise TypeError(f"{group.path}/{name} is not a group")
    return member


def group_in(group: zarr.Group | None, name: str) -> zarr.Group | None:
    """The same; None where nothing is called so, or there is no ``group``."""
    return None if group is None or name not in group else group_of(group, name)
