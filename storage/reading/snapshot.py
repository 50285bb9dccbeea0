"""Reading: one pinned snapshot, labelled and lazy.

A reader holds the snapshot that it opened, whatever runs publish in the meantime.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import icechunk
import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.features import ArraySpec
from meldflow.models.schema.media import Modality
from meldflow.models.schema.utterances import SPLITS
from meldflow.storage.format import catalogue, clip_facts, layout
from meldflow.storage.format import run_table as run_table
from meldflow.storage.format.arrays import FeatureArray, RaggedArray, by_partition, open_array
from meldflow.storage.format.columns import ColumnTable, group_of
from meldflow.storage.places import location
from meldflow.storage.places.place import icechunk_explained, place_of
from meldflow.storage.planning.plan import stale_mask
from meldflow.storage.reading import labelled
from meldflow.storage.reading.counts import Counts, FailedRow, count

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from meldflow.storage.reading.partitions import PartitionReader


def open_store(url: str, ref: str = "main") -> Snapshot:
    """A snapshot of the store at ``url``, pinned.

    Args:
        url: the store's folder, or ``s3://bucket/name``.
        ref: a branch, a tag or a snapshot id.

    Raises:
        UsageError: there is no store, it has another schema, or no such snapshot.
    """
    repository = location.open_repository(url)
    snapshot = resolve(repository, url, ref)
    return Snapshot(url=url, session=repository.readonly_session(snapshot_id=snapshot))


def resolve(repository: icechunk.Repository, url: str, ref: str) -> str:
    """The snapshot id that a branch, a tag or a snapshot id names.

    Raises:
        UsageError: there is none.
    """
    if ref in repository.list_branches():
        return repository.lookup_branch(ref)
    if ref in repository.list_tags():
        return repository.lookup_tag(ref)
    try:
        return repository.lookup_snapshot(ref).id
    except (icechunk.IcechunkError, ValueError) as error:
        raise UsageError(f"store {url}: no branch, tag or snapshot is called {ref!r}") from error


@dataclass(frozen=True)
class Snapshot:
    """An immutable state of a store.

    Rows are utterances in the order in which they entered the catalogue, those that left the
    data set included; ``active`` tells them apart. Every method leaves them out, except those
    that give one entry per row of the store: ``dataset``, ``tree``, ``ids`` and ``state``.
    """

    url: str
    session: icechunk.Session

    @property
    def id(self) -> str:
        """The snapshot's id."""
        return str(self.session.snapshot_id)

    @cached_property
    def root(self) -> zarr.Group:
        """The Zarr group that holds everything, read-only."""
        return zarr.open_group(self.session.store, mode="r")

    @cached_property
    def partition(self) -> int:
        """Consecutive rows per partition."""
        return int(self.root.attrs["partition"])  # type: ignore[arg-type]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever published in it."""
        return layout.UTTERANCES not in self.root

    @cached_property
    def utterances(self) -> ColumnTable:
        """The whole catalogue, one entry per row."""
        if self.is_empty:
            raise UsageError(f"store {self.url}: it is empty; `meldflow extract` fills it")
        columns = layout.UTTERANCE_COLUMNS
        with self._reading():
            return ColumnTable.read(group_of(self.root, layout.UTTERANCES), columns)

    @cached_property
    def extractors(self) -> tuple[str, ...]:
        """Names of the extractors that the store holds, sorted."""
        groups = (
            f"{modality}/{name}"
            for modality in sorted(self.root.group_keys())
            if modality
            not in (layout.UTTERANCES, clip_facts.GROUP, run_table.GROUP, run_table.ATTACHED)
            for name in sorted(group_of(self.root, modality).group_keys())
        )
        return tuple(groups)

    @cached_property
    def runs(self) -> tuple[run_table.RunRecord, ...]:
        """The runs that made it, the oldest first: what a state's ``run`` counts."""
        with self._reading():
            return run_table.records(self.root)

    def attached(self, run: int, name: str) -> dict[str, NDArray[Any]]:
        """Small arrays that a run left, such as the ``load`` of its workers.

        Args:
            run: which of ``runs``.
            name: what the run called them.

        Returns:
            column → values, shape (n,); empty where the run left nothing of that name, or is not
            among the newest that have anything left here.
        """
        with self._reading():
            return run_table.attachment(self.root, run, name)

    def attributes(self, extractor: str) -> dict[str, Any]:
        """Key, version, parameters, weights and arrays of an extractor.

        Raises:
            UsageError: the store has no such extractor.
        """
        return dict(self._group(extractor).attrs)

    def array_spec(self, extractor: str, array: str) -> ArraySpec:
        """What an array of an extractor is: its dims, shape, dtype and frame rate.

        Raises:
            UsageError: the store has no such extractor, or the extractor no such array.
        """
        specs = layout.array_specs(self.attributes(extractor))
        if array not in specs:
            gives = ", ".join(specs)
            raise UsageError(f"store {self.url}: {extractor} gives {gives}, not {array!r}")
        return specs[array]

    def rows(self, split: str | None = None) -> NDArray[np.int64]:
        """Active rows, of one split or of all, ascending."""
        active = self.utterances["active"] == 1
        if split is not None:
            active &= self.utterances["split"] == split
        return np.flatnonzero(active)

    def row(self, name: str) -> int:
        """The row of ``split/dia{D}_utt{U}``.

        Raises:
            UsageError: the catalogue has no such utterance.
        """
        try:
            return self._row_of[name]
        except KeyError:
            raise UsageError(f"store {self.url}: no utterance is called {name}") from None

    @cached_property
    def ids(self) -> list[str]:
        """The id of every row's utterance, those that left the data set included."""
        return catalogue.ids(self.utterances)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    def state(self, extractor: str) -> ColumnTable:
        """Status, reason, message, key, checksum and seconds, one entry per row."""
        if extractor not in self._states:
            columns = layout.STATE_COLUMNS
            with self._reading():
                self._states[extractor] = ColumnTable.read(self._group(extractor), columns)
        return self._states[extractor]

    def features(
        self, extractor: str, array: str, split: str | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A fixed-size feature of the active rows, and which of them have it.

        Returns:
            values, shape (n_rows, …), and a mask, shape (n_rows,). Rows without the feature
            hold NaN (0 in integer arrays).

        Raises:
            UsageError: there is no such feature, or it has a number of frames for each row.
        """
        rows, stored = self.rows(split), self._array(extractor, array)
        if isinstance(stored, RaggedArray):
            raise UsageError(f"{extractor}/{array} has frames: read it with frames(), partitions()")
        with self._reading():
            values = stored.gather(rows)
        return values, np.asarray(self.state(extractor)["status"][rows] == layout.OK)

    def frames(self, extractor: str, array: str, name: str) -> NDArray[Any]:
        """A ragged feature of one utterance, shape (n_frames, …); no frames if it failed."""
        return self.read_rows(extractor, array, np.array([self.row(name)]))[0]

    def iter_frames(self, extractor: str, array: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """(row, frames) of every active row, read a partition at a time.

        A partition read whole costs about a third of the CPU of its rows read one by one.
        """
        for rows in by_partition(self.rows(), self.partition):
            yield from zip(rows.tolist(), self.read_rows(extractor, array, rows), strict=True)

    def read_rows(
        self, extractor: str, array: str, rows: NDArray[np.int64]
    ) -> Sequence[NDArray[Any]]:
        """A feature of some rows of one partition, ascending, by one read.

        Returns:
            per row an array of shape (n_frames, …) if it is ragged, else (…). Rows without the
            feature have no frames, or NaN (0 in integer arrays).
        """
        with self._reading():
            return self._array(extractor, array).read(rows)

    def partitions(self, *paths: str, split: str | None = None) -> PartitionReader:
        """A picklable reader of whole partitions of this snapshot.

        Args:
            paths: the arrays that are wanted, as ``extractor/array``, ragged or fixed.
            split: the split that is wanted; None means all.

        Raises:
            UsageError: the store has no such array, or no active row of the split.
        """
        from meldflow.storage.reading.partitions import (
            PartitionReader,  # which opens snapshots itself
        )

        if split is not None and split not in self.splits():
            held = ", ".join(self.splits()) or "nothing"
            raise UsageError(f"store {self.url}: its splits are {held}, not {split!r}")
        for path in paths:
            extractor, _, array = path.rpartition("/")
            self.array_spec(extractor, array)
        return PartitionReader(
            url=place_of(self.url).name, snapshot_id=self.id, paths=paths, split=split
        )

    def dataset(self, extractor: str) -> xr.Dataset:
        """The extractor's arrays as a lazily loaded, labelled xarray data set.

        Ragged arrays appear whole, with their ``_start`` and ``_row_size``. Rows that left the
        data set are in it; the coordinate ``active`` tells them apart.

        Raises:
            UsageError: the store has no such extractor.
        """
        return labelled.dataset(self, extractor)

    def tree(self) -> xr.DataTree:
        """The data sets of all extractors as one lazily loaded xarray tree.

        Each is where its name says, for example ``tree["audio/wav2vec2"]``, with the labels of
        its rows; the root's attributes name the store and the snapshot.
        """
        return labelled.tree(self)

    def counts(self) -> dict[str, dict[str, Counts]]:
        """Split → extractor → counts by state."""
        found: dict[str, dict[str, Counts]] = {split: {} for split in self.splits()}
        for extractor in self.extractors:
            state, attributes = self.state(extractor), self.attributes(extractor)
            modality = Modality(attributes["modality"])
            stale = stale_mask(self.utterances, state, modality=modality, key=attributes["key"])
            for split in found:
                rows = self.rows(split)
                found[split][extractor] = count(state["status"][rows], stale[rows])
        return found

    def splits(self) -> list[str]:
        """The splits that have rows, MELD's own first and in their order."""
        present = set(self.utterances["split"][self.rows()].tolist())
        return [*(s for s in SPLITS if s in present), *sorted(present.difference(SPLITS))]

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

    def clips(self) -> pd.DataFrame:
        """What decoding showed of every clip, one row per utterance, indexed by its id.

        ``clip`` is the file's path. The others are the fields of ``models.schema.media.AudioFacts``
        and ``VideoFacts`` and their ``damage``, named ``audio_codec``, ``video_frames_decoded``,
        ``video_damage`` and so on; NaN where the file as it is now was never decoded for that
        modality.
        """
        rows = self.rows()
        names = [self.ids[row] for row in rows]
        with self._reading():
            return clip_facts.clip_table(self.root, self.utterances, rows, names)

    def random_weights(self) -> tuple[str, ...]:
        """The extractors whose networks have random weights."""
        kinds = {name: self.attributes(name)["weights"]["kind"] for name in self.extractors}
        return tuple(name for name, kind in kinds.items() if kind == "random")

    def _reading(self) -> AbstractContextManager[None]:
        return icechunk_explained(place_of(self.url).name, "cannot be read", RunError)

    def _group(self, extractor: str) -> zarr.Group:
        if extractor not in self.extractors:
            held = ", ".join(self.extractors) or "nothing"
            raise UsageError(f"store {self.url}: it holds {held}, not {extractor!r}")
        return group_of(self.root, extractor)

    def _array(self, extractor: str, array: str) -> FeatureArray:
        """The array, opened once: opening reads where every row's frames lie."""
        name = (extractor, array)
        if name not in self._arrays:
            spec = self.array_spec(extractor, array)
            self._arrays[name] = open_array(self._group(extractor), spec)
        return self._arrays[name]

    @cached_property
    def _arrays(self) -> dict[tuple[str, str], FeatureArray]:
        return {}

    @cached_property
    def _states(self) -> dict[str, ColumnTable]:
        return {}
