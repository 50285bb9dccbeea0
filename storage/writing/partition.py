"""Writing one partition: whole chunks through a fork, no commit.

A worker gets a fork of the run's session, writes the feature arrays of its partition and
sends the fork back. Chunks and shards that it touches belong to this partition alone, so
doing it twice gives the same bytes and no two workers ever meet. What a killed worker left
is unreferenced and invisible.
"""

import errno
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import icechunk
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.core.buffer import Buffer
from zarr.storage import WrapperStore

from meldflow.models.schema.errors import RunError
from meldflow.models.schema.features import ArraySpec, FeatureSpec, Record
from meldflow.models.schema.media import Missing, Modality, Reason
from meldflow.storage.format.clip_facts import Facts
from meldflow.storage.format.columns import array_of, group_of
from meldflow.storage.format.layout import FAILED, OK, SHARD_FRAMES, ragged_arrays
from meldflow.storage.places.patience import patient

Fork: TypeAlias = icechunk.ForkSession
"""What a worker writes through; it pickles to a few hundred bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What an extractor gave for one row, and the seconds it took."""

    record: Record
    seconds: float
    facts: Facts | None = None
    """What decoding showed of the clip; None where nothing was decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """New values of an extractor's small columns, for the committer to write."""

    extractor: str
    rows: NDArray[np.int64]
    columns: Mapping[str, list[Any]]
    """Column name → one value per row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A written partition on its way to the committer."""

    partition: int
    fork: Fork
    states: tuple[Update, ...]
    """Status, reason, message and seconds of the rows extracted, per extractor."""
    ends: tuple[Update, ...]
    """Where the frames of all the partition's rows lie now, per extractor."""
    facts: Mapping[Modality, Mapping[int, Facts]]
    """Modality → row → what decoding showed of the clip."""
    n_bytes: int
    """What the chunks take in the store, compressed."""


class _Counting(WrapperStore[Store]):
    """A store that counts the bytes it is given."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.n_bytes = 0

    async def set(self, key: str, value: Buffer) -> None:
        self.n_bytes += len(value)
        await super().set(key, value)


def write_partition(
    fork: Fork,
    partition: int,
    results: Mapping[str, Mapping[int, Result]],
    specs: Sequence[FeatureSpec],
    *,
    partition_size: int,
) -> Written:
    """Writes ``results`` (extractor name → row → result) into the fork.

    Rows of the partition that are not in ``results`` keep what they hold.

    Raises:
        RunError: the disk is full; trying again would not help.
    """
    store = _Counting(patient(fork))
    states, ends = [], []
    facts: dict[Modality, dict[int, Facts]] = {}
    try:
        root = zarr.open_group(store, mode="r+")
        for spec in (one for one in specs if one.name in results):
            shown = {row: one.facts for row, one in results[spec.name].items() if one.facts}
            facts.setdefault(spec.modality, {}).update(shown)
            writer = _PartitionWriter(root, spec, partition, partition_size)
            state, end = writer.write(results[spec.name])
            states.append(state)
            ends.append(end)
    except icechunk.IcechunkError as error:
        if any(os.strerror(code) in str(error) for code in (errno.ENOSPC, errno.EDQUOT)):
            raise RunError(
                "the store's disk is full; what was committed is kept: make room and run again"
            ) from None
        raise
    return Written(
        partition=partition,
        fork=fork,
        states=tuple(states),
        ends=tuple(ends),
        facts=facts,
        n_bytes=store.n_bytes,
    )


class _PartitionWriter:
    """One extractor's part of one partition: rows ``first`` to ``last`` (exclusive)."""

    def __init__(self, root: zarr.Group, spec: FeatureSpec, partition: int, size: int) -> None:
        self.group = group_of(root, spec.name)
        self.spec = spec
        self.partition = partition
        self.first = partition * size
        self.last = min(self.first + size, array_of(self.group, "status").shape[0])

    def write(self, results: Mapping[int, Result]) -> tuple[Update, Update]:
        """Writes every array; gives the new state and the new places of the frames."""
        records = {row: results[row].record for row in sorted(results)}
        ragged = ragged_arrays(self.spec)
        kept = {array.name: self._kept(array, records) for array in ragged}
        for array in ragged:  # before any of them is written: a row has all of its arrays or none
            taken = sum(size for _, size in kept[array.name].values())
            _fail_what_does_not_fit(array, records, self._slot(array)[1] - taken)
        ends: dict[str, list[Any]] = {}
        for array in ragged:
            ends |= self._write_ragged(array, records, kept[array.name])
        for array in self.spec.arrays:
            if array.rate is None:
                self._write_fixed(array, records)
        missing = [one if isinstance(one, Missing) else None for one in records.values()]
        state: dict[str, list[Any]] = {
            "status": [FAILED if one else OK for one in missing],
            "reason": [one.reason.value if one else "" for one in missing],
            "message": [one.message if one else "" for one in missing],
            "seconds": [results[row].seconds for row in records],
        }
        everywhere = np.arange(self.first, self.last, dtype=np.int64)
        return (
            Update(extractor=self.spec.name, rows=np.array(list(records)), columns=state),
            Update(extractor=self.spec.name, rows=everywhere, columns=ends),
        )

    def _write_fixed(self, array: ArraySpec, records: Mapping[int, Record]) -> None:
        stored = array_of(self.group, array.name)
        if len(records) == self.last - self.first:  # nothing is kept, so nothing is read
            block = np.empty((len(records), *array.shape), array.dtype)
        else:
            block = np.array(stored[self.first : self.last])
        for row, record in records.items():
            value = stored.fill_value if isinstance(record, Missing) else record[array.name]
            block[row - self.first] = value
        stored[self.first : self.last] = block

    def _slot(self, array: ArraySpec) -> tuple[int, int]:
        """First frame and number of frames of the partition's slot."""
        base, room = np.asarray(array_of(self.group, f"{array.name}_slot")[self.partition]).tolist()
        return base, room

    def _write_ragged(
        self,
        array: ArraySpec,
        records: Mapping[int, Record],
        kept: Mapping[int, tuple[int, int]],
    ) -> dict[str, list[int]]:
        """Lays the partition's frames into its slot; gives start and row_size of every row."""
        stored, base = array_of(self.group, array.name), self._slot(array)[0]
        empty = np.empty((0, *array.shape), array.dtype)
        frames = {row: one[array.name] for row, one in records.items() if isinstance(one, dict)}
        frames |= {row: np.asarray(stored[at : at + size]) for row, (at, size) in kept.items()}
        pieces = [frames.get(row, empty) for row in range(self.first, self.last)]
        sizes = [len(piece) for piece in pieces]
        # Whole shards, always: writing part of a shard would read and merge the rest.
        n_frames = max(1, -(-sum(sizes) // SHARD_FRAMES)) * SHARD_FRAMES
        block = np.full((n_frames, *array.shape), stored.fill_value, array.dtype)
        np.concatenate(pieces, out=block[: sum(sizes)])
        stored[base : base + n_frames] = block
        starts = base + np.concatenate([[0], np.cumsum(sizes)[:-1]])
        return {f"{array.name}_start": starts.tolist(), f"{array.name}_row_size": sizes}

    def _kept(self, array: ArraySpec, records: Mapping[int, Record]) -> dict[int, tuple[int, int]]:
        """Where frames of the partition's other rows lie, which move with the new block."""
        if len(records) == self.last - self.first:
            return {}
        names = (f"{array.name}_{end}" for end in ("start", "row_size"))
        ends = (np.asarray(array_of(self.group, one)[self.first : self.last]) for one in names)
        places = zip(range(self.first, self.last), *(one.tolist() for one in ends), strict=True)
        return {row: (at, n) for row, at, n in places if n and row not in records}


def _fail_what_does_not_fit(array: ArraySpec, records: dict[int, Record], room: int) -> None:
    """Turns the longest rows into ``too_long`` until the rest fits into the slot.

    It happens only where a clip holds more than its container declares, or far more than is
    assumed of one that declares nothing. The row fails, and its partition does not; retried, it
    gets the room that it needs, since its length is known by then.
    """
    sizes = {row: len(one[array.name]) for row, one in records.items() if isinstance(one, dict)}
    excess = sum(sizes.values()) - room
    for row in sorted(sizes, key=lambda row: -sizes[row]):
        if excess <= 0:
            return
        message = f"{array.name}: {sizes[row]} frames do not fit the partition's slot of {room}"
        records[row] = Missing(reason=Reason.TOO_LONG, message=message)
        excess -= sizes[row]
