"""Whole partitions of a pinned snapshot: the cheapest way through all its features.

A reader is an address, not a connection: it pickles to a few hundred bytes, and each process
that uses it opens the snapshot for itself. So it can be sent to the workers of a data loader,
which read what was pinned whatever runs publish in the meantime.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.features import ArraySpec, FeatureRow, parted
from meldflow.storage.format.arrays import by_partition
from meldflow.storage.reading.pinned import Pinned


@dataclass(frozen=True, kw_only=True)
class PartitionReader:
    """Reads the active rows of a snapshot a partition at a time."""

    url: str
    """The store's address, whatever the working directory."""
    snapshot_id: str
    paths: tuple[str, ...]
    """The arrays that are wanted, ``extractor/array`` each, ragged or fixed."""
    split: str | None = None
    """The split that is wanted; None means all."""

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: an open snapshot must not travel to another process."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @cached_property
    def snapshot(self) -> Pinned:
        """The snapshot, opened in this process at first use.

        Raises:
            UsageError: the store or the snapshot is not there any more.
        """
        return Pinned.open(self.url, self.snapshot_id)

    @cached_property
    def arrays(self) -> Mapping[str, ArraySpec]:
        """Path → what the array is.

        Raises:
            UsageError: the snapshot has no such array.
        """
        return {path: self.snapshot.array_spec(*parted(path)) for path in self.paths}

    def sizes(self) -> Mapping[int, int]:
        """Number of each partition that has wanted rows → how many it has."""
        return {partition: len(rows) for partition, rows in self._rows.items()}

    def read(self, partition: int) -> list[FeatureRow]:
        """The wanted rows of ``partition``, ascending, by one read per array.

        Their ragged values are views of one block: a row that is kept keeps the block alive.

        Raises:
            KeyError: the partition has no wanted rows.
        """
        rows = self._rows[partition]
        found = {path: self.snapshot.read_rows(*parted(path), rows) for path in self.paths}
        lacking = {path: self.snapshot.lacking(parted(path)[0], rows) for path in self.paths}
        return [
            FeatureRow(
                row=row,
                id=self.snapshot.ids[row],
                emotion=self.snapshot.utterances["emotion"][row],
                arrays={path: found[path][i] for path in self.paths if not lacking[path][i]},
                missing={path: lacking[path][i] for path in self.paths if lacking[path][i]},
            )
            for i, row in enumerate(rows.tolist())
        ]

    @cached_property
    def _rows(self) -> dict[int, NDArray[np.int64]]:
        size = self.snapshot.partition
        parted = by_partition(self.snapshot.rows(self.split), size)
        return {int(rows[0]) // size: rows for rows in parted}
