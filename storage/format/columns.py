"""Small columns: one value per row, read when they are asked for, written by the committer alone.

The catalogue and the state of every extractor (status, key, checksum, …) are such columns.
Workers never write them: a fork that shares a chunk with another fork is merged without any
check, and the loser's values are gone. One writer also allows large chunks, so that a plan
reads a few objects even at a million rows.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar, cast

import numpy as np
import zarr
from numpy.typing import ArrayLike, DTypeLike, NDArray
from zarr.codecs import ZstdCodec

R = TypeVar("R")

CHUNK = 8_192
"""Rows per chunk of a new array; an older store has fewer. A chunk costs a millisecond to read,
whatever it holds, and one that changed is written whole."""

TEXT = np.dtypes.StringDType()
"""Text in memory: no Python object for each, and nothing is cut."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, NumPy dtype (``str`` for text) and what an unwritten row holds."""

    name: str
    dtype: str
    fill: Any
    inner: tuple[int, ...] = ()

    @property
    def memory_dtype(self) -> np.dtype[Any]:
        """The dtype of its values in memory."""
        return TEXT if self.dtype == "str" else np.dtype(self.dtype)

    def filled(self, n_rows: int) -> NDArray[Any]:
        """Unwritten rows."""
        return np.full((n_rows, *self.inner), self.fill, self.memory_dtype)


@dataclass(frozen=True, slots=True, eq=False)
class Records(Generic[R]):
    """Rows held as columns; each is made when somebody comes to it, since there may be millions."""

    columns: Mapping[str, NDArray[Any]]
    """Name → values, shape (n_rows, …)."""
    make: Callable[[dict[str, Any]], R]
    """Makes a row of its values."""

    def __len__(self) -> int:
        return max(map(len, self.columns.values()), default=0)

    def __iter__(self) -> Iterator[R]:
        for block in (slice(at, at + CHUNK) for at in range(0, len(self), CHUNK)):
            cells = (one[block].tolist() for one in self.columns.values())
            for row in zip(*cells, strict=True):
                yield self.make(dict(zip(self.columns, row, strict=True)))


def blocks(rows: Iterable[R]) -> Iterator[tuple[R, ...]]:
    """The rows, by the thousand, as they come."""
    left = iter(rows)
    return iter(lambda: tuple(islice(left, CHUNK)), ())


def in_columns(
    rows: Iterable[R], columns: Callable[[Sequence[R]], dict[str, NDArray[Any]]]
) -> dict[str, NDArray[Any]]:
    """The columns of rows that are taken as they come; ``columns`` makes those of some."""
    found, n = columns(()), 0
    for block in blocks(rows):
        for name, own in columns(block).items():
            if n + len(own) > len(found[name]):  # in place, else all would be there twice
                more = np.empty((n + 2 * len(own), *own.shape[1:]), own.dtype)
                found[name] = np.concatenate([found[name], more])
            found[name][n : n + len(own)] = own
        n += len(block)
    return {name: one[:n] for name, one in found.items()}


class ColumnTable:
    """Columns of equal length. Of what changed, the chunks are held until they are written."""

    def __init__(
        self,
        group: zarr.Group | None,
        columns: Sequence[Column],
        dimension: str = "row",
        *,
        reading: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """The arrays of ``group``; there are no rows where it, or all of them, are not there.

        A column that the release which wrote them did not know holds its fill value. ``reading``
        is entered around every read.
        """
        self._columns = {column.name: column for column in columns}
        self._dimension, self._reading = dimension, reading
        self._stored: dict[str, zarr.Array[Any]] = {}
        if group is not None:
            with reading():
                there = [name for name in self._columns if name in group]
                self._stored = {name: array_of(group, name) for name in there}
        self._length = max((one.shape[0] for one in self._stored.values()), default=0)
        self._whole: dict[str, NDArray[Any]] = {}
        self._changed: dict[tuple[str, int], NDArray[Any]] = {}
        self._recent: dict[tuple[str, int], NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """The whole column, kept for the next who asks; change it through ``put`` only.

        Text comes as the objects that every library knows: NumPy 2.4 gets `fromiter`,
        `searchsorted` and `astype(str)` of a ``StringDType`` wrong.
        """
        if name not in self._whole:
            found = self.at(name)
            self._whole[name] = found.astype(object) if found.dtype == TEXT else found
        return self._whole[name]

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __len__(self) -> int:
        return self._length

    def at(self, name: str, rows: NDArray[np.int64] | None = None) -> NDArray[Any]:
        """A column's values at ``rows``, text as ``TEXT``; of a few rows their chunks are read."""
        size = self._chunk_rows(name)
        if rows is not None and len(rows) <= size:
            found = self._columns[name].filled(len(rows))
            for number, entries, places in self._by_chunk(name, rows):
                found[entries] = self._chunk(name, number)[places]
            return found
        found = self._span(name, 0, self._length)
        for (one, number), held in self._changed.items():
            if one == name:
                found[number * size : number * size + len(held)] = held
        return found if rows is None else np.asarray(found[rows])

    def grow(self, n_rows: int) -> None:
        """Appends rows that hold the fill values, up to ``n_rows`` in all."""
        self._length, self._whole, self._recent = n_rows, {}, {}
        for (name, number), held in self._changed.items():
            size = self._chunk_rows(name)
            more = min(size, n_rows - number * size) - len(held)
            self._changed[name, number] = np.append(held, self._columns[name].filled(more), axis=0)

    def put(self, rows: ArrayLike, values: Mapping[str, ArrayLike]) -> None:
        """Sets ``values`` (one entry per row, or a scalar) at ``rows``."""
        index = np.asarray(rows, dtype=np.int64)
        for name, value in values.items():
            column = self._columns[name]
            shape = (len(index), *column.inner)
            given = np.broadcast_to(np.asarray(value, column.memory_dtype), shape)
            for number, entries, places in self._by_chunk(name, index):
                held = self._changed[name, number] = self._chunk(name, number)
                held[places] = given[entries]
            self._whole.pop(name, None)

    def forget(self, name: str) -> None:
        """Drops what changed in a column."""
        self._changed = {key: held for key, held in self._changed.items() if key[0] != name}
        self._recent = {}
        self._whole.pop(name, None)

    def write(self, group: zarr.Group, *names: str) -> None:
        """Writes the chunks that changed into arrays of its length, read from then on."""
        for name in names or self._columns:
            column = self._columns[name]
            if name not in group:
                dims = (self._dimension, *(f"{name}_entry" for _ in column.inner))
                shape = (len(self), *column.inner)
                create_column(group, name, shape, column.dtype, dims, fill_value=column.fill)
            size, array = self._chunk_rows(name), array_of(group, name)
            if array.shape[0] != len(self):
                array.resize((len(self), *column.inner))
            for key in sorted(key for key in self._changed if key[0] == name):
                held, first = self._changed[key], key[1] * size
                array[first : first + len(held)] = held
                self._keep(key, self._changed.pop(key))
            self._stored[name] = array

    def _chunk_rows(self, name: str) -> int:
        return self._stored[name].chunks[0] if name in self._stored else CHUNK

    def _by_chunk(
        self, name: str, rows: NDArray[np.int64]
    ) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
        """Number of a chunk, which entries of ``rows`` lie in it, and where."""
        size = self._chunk_rows(name)
        numbers = rows // size
        order = np.argsort(numbers, kind="stable")
        for own in np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1):
            if own.size:
                number = int(numbers[own[0]])
                yield number, own, rows[own] - number * size

    def _chunk(self, name: str, number: int) -> NDArray[Any]:
        """A chunk as it is now; the last ones are kept, for whoever comes to their other rows."""
        key, size = (name, number), self._chunk_rows(name)
        held = self._changed.get(key, self._recent.get(key))
        if held is None:
            held = self._span(name, number * size, min(size, self._length - number * size))
            self._keep(key, held)
        return held

    def _keep(self, key: tuple[str, int], held: NDArray[Any]) -> None:
        if len(self._recent) >= len(self._columns):
            self._recent = {}
        self._recent[key] = held

    def _span(self, name: str, first: int, n_rows: int) -> NDArray[Any]:
        """Rows as they are stored, and as if nobody had written them where they are not."""
        column, stored = self._columns[name], self._stored.get(name)
        if stored is None or first >= stored.shape[0]:
            return column.filled(n_rows)
        with self._reading():
            read = np.asarray(stored[first : first + n_rows])
        read, more = read.astype(column.memory_dtype, copy=False), n_rows - len(read)
        return np.append(read, column.filled(more), axis=0) if more else read


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


def array_of(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """The array called ``name`` in ``group``."""
    return cast("zarr.Array[Any]", group[name])


def group_of(group: zarr.Group, name: str) -> zarr.Group:
    """The group called ``name`` in ``group``."""
    return cast("zarr.Group", group[name])


def group_in(group: zarr.Group | None, name: str) -> zarr.Group | None:
    """The same; None where nothing is called so, or there is no ``group``."""
    return None if group is None or name not in group else group_of(group, name)
