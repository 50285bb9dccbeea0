"""A snapshot of a store: what a person, a flow and an export ask of it.

Its whole partitions are the cheapest way through all its features.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import NEVER_EXTRACTED, STALE, ArraySpec, FeatureRow, parted
from meldflow.storage.format import clip_facts, layout
from meldflow.storage.format.arrays import by_partition
from meldflow.storage.places.place import place_of
from meldflow.storage.reading.pinned import Pinned

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


@dataclass(frozen=True, kw_only=True)
class PartitionReader:
    """Reads the active rows of a snapshot a partition at a time.

    It is an address, not a connection: it pickles to a few hundred bytes, and each process that
    uses it opens the snapshot for itself. So it can be sent to the workers of a data loader, which
    read what was pinned whatever runs publish in the meantime.
    """

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Utterances by the state of one extractor."""

    ok: int
    failed: int
    stale: int
    never: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """An utterance without a feature, and why."""

    id: str
    extractor: str
    reason: str
    message: str
    clip: str


@dataclass(frozen=True)
class Snapshot(Pinned):
    """An immutable state of a store, and what can be made of it."""

    def partitions(self, *paths: str, split: str | None = None) -> PartitionReader:
        """A picklable reader of whole partitions of this snapshot.

        Args:
            paths: the arrays that are wanted, as ``extractor/array``, ragged or fixed.
            split: the split that is wanted; None means all.

        Raises:
            UsageError: the store has no such array, or no active row of the split.
        """
        if split is not None and split not in self.splits():
            held = ", ".join(self.splits()) or "nothing"
            raise UsageError(f"store {self.url}: its splits are {held}, not {split!r}")
        for path in paths:
            self.array_spec(*parted(path))
        return PartitionReader(
            url=place_of(self.url).name, snapshot_id=self.id, paths=paths, split=split
        )

    def dataset(self, extractor: str) -> "xr.Dataset":
        """The extractor's arrays as a lazily loaded, labelled xarray data set.

        Frames lie in CF's contiguous ragged form (see ``format.axes``). Utterances that left the
        data set are in it; the coordinate ``active`` tells them apart.

        Raises:
            UsageError: the store has no such extractor.
        """
        from meldflow.storage.reading import labelled

        return labelled.dataset(self, extractor)

    def tree(self) -> "xr.DataTree":
        """The data sets of all extractors as one lazily loaded xarray tree.

        Each is where its name says, for example ``tree["audio/wav2vec2"]``, with the labels of
        its rows; the root's attributes name the store and the snapshot.
        """
        from meldflow.storage.reading import labelled

        return labelled.tree(self)

    def counts(self) -> dict[str, dict[str, Counts]]:
        """Split → extractor → counts by state."""
        found: dict[str, dict[str, Counts]] = {split: {} for split in self.splits()}
        for extractor in self.extractors:
            for split, of in found.items():
                why = Counter(self.lacking(extractor, self.rows(split)).tolist())
                ok, stale, never = (why.pop(one, 0) for one in ("", STALE, NEVER_EXTRACTED))
                of[extractor] = Counts(ok=ok, failed=why.total(), stale=stale, never=never)
        return found

    def failures(self) -> list[FailedRow]:
        """Every active row that failed, by extractor and row."""
        return [
            FailedRow(
                id=self.ids[row],
                extractor=extractor,
                reason=state["reason"][row],
                message=state["message"][row],
                clip=self.utterances["clip_path"][row],
            )
            for extractor, state in ((name, self.state(name)) for name in self.extractors)
            for row in self.rows()
            if state["status"][row] == layout.FAILED
        ]

    def clips(self) -> "pd.DataFrame":
        """What decoding showed of every clip, one row per utterance, indexed by its id.

        ``clip`` is the file's path. The others are the fields of ``models.schema.media.AudioFacts``
        and ``VideoFacts`` and their ``damage``, named ``audio_codec``, ``video_frames_decoded``,
        ``video_damage`` and so on; NaN where the file as it is now was never decoded for that
        modality.
        """
        rows = self.rows()
        names = [self.ids[row] for row in rows]
        with self.reading():
            return clip_facts.clip_table(self.root, self.utterances, rows, names)

    def random_weights(self) -> tuple[str, ...]:
        """The extractors whose networks have random weights."""
        kinds = {name: self.attributes(name)["weights"]["kind"] for name in self.extractors}
        return tuple(name for name, kind in kinds.items() if kind == "random")


def open_store(url: str, ref: str = "main") -> Snapshot:
    """A snapshot of the store at ``url``, pinned.

    Args:
        url: the store's folder, or ``s3://bucket/name``.
        ref: a branch, a tag or a snapshot id.

    Raises:
        UsageError: there is no store, it has another schema, or no such snapshot.
    """
    return Snapshot.open(url, ref)
