"""One pinned state of a store: its catalogue, its extractors, their features by row.

A reader holds the snapshot that it opened, whatever runs publish in the meantime.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import icechunk
import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.schema.features import STALE, ArraySpec
from meldflow.models.schema.media import Modality
from meldflow.models.schema.utterances import SPLITS
from meldflow.storage.format import catalogue, layout, run_table
from meldflow.storage.format.arrays import FeatureArray, RaggedArray, by_partition, open_array
from meldflow.storage.format.columns import ColumnTable, group_of
from meldflow.storage.places import location
from meldflow.storage.places.patience import open_root
from meldflow.storage.places.place import place_of
from meldflow.storage.reading.plan import Why, stale_rows


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
class Pinned:
    """What an immutable state of a store holds, read by names and rows.

    Rows are utterances in the order in which they entered the catalogue, those that left the
    data set included; ``active`` tells them apart. ``ids`` and ``state`` give one entry per row
    of the store; every other method leaves out those that left.
    """

    url: str
    session: icechunk.Session
    _arrays: dict[tuple[str, str], FeatureArray] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _states: dict[str, tuple[ColumnTable, NDArray[np.bool_]]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    @classmethod
    def open(cls, url: str, ref: str = "main") -> Self:
        """The state that ``ref`` names: a branch, a tag or a snapshot id.

        Raises:
            UsageError: there is no store, it has another schema, or no such snapshot.
        """
        repository = location.open_repository(url)
        snapshot = resolve(repository, url, ref)
        return cls(url=url, session=repository.readonly_session(snapshot_id=snapshot))

    @property
    def id(self) -> str:
        """The snapshot's id."""
        return str(self.session.snapshot_id)

    @cached_property
    def root(self) -> zarr.Group:
        """The Zarr group that holds everything, read-only."""
        return open_root(self.session)

    @cached_property
    def partition(self) -> int:
        """Consecutive rows per partition."""
        return layout.partition_of(self.root)

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever published in it."""
        return layout.UTTERANCES not in self.root

    @cached_property
    def utterances(self) -> ColumnTable:
        """The whole catalogue, one entry per row."""
        if self.is_empty:
            raise UsageError(f"store {self.url}: it is empty; `meldflow extract` fills it")
        return layout.utterance_table(self.root, reading=self.reading)

    @cached_property
    def extractors(self) -> tuple[str, ...]:
        """Names of the extractors that the store holds, sorted."""
        groups = (
            f"{modality}/{name}"
            for modality in sorted(self.root.group_keys())
            if modality not in layout.OWN
            for name in sorted(group_of(self.root, modality).group_keys())
        )
        return tuple(groups)

    @cached_property
    def runs(self) -> tuple[run_table.RunRecord, ...]:
        """The runs that made it, the oldest first: what a state's ``run`` counts."""
        with self.reading():
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
        with self.reading():
            return run_table.attachment(self.root, run, name)

    def attributes(self, extractor: str) -> dict[str, Any]:
        """Key, version, parameters, weights and arrays of an extractor.

        Raises:
            UsageError: the store has no such extractor.
        """
        return dict(self.group(extractor).attrs)

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
        if name not in self._row_of:
            raise UsageError(f"store {self.url}: no utterance is called {name}")
        return self._row_of[name]

    @cached_property
    def ids(self) -> list[str]:
        """The id of every row's utterance, those that left the data set included."""
        return catalogue.ids(self.utterances)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self.ids)}

    def state(self, extractor: str) -> ColumnTable:
        """Status, reason, message, key, checksum and seconds, one entry per row."""
        return self._state(extractor)[0]

    def stale(self, extractor: str) -> NDArray[np.bool_]:
        """Active rows whose result is of an earlier clip, text or key, shape (n_rows,)."""
        return self._state(extractor)[1]

    def _state(self, extractor: str) -> tuple[ColumnTable, NDArray[np.bool_]]:
        if extractor not in self._states:
            columns = layout.STATE_COLUMNS
            state = ColumnTable(self.group(extractor), columns, reading=self.reading)
            modality, key = (self.attributes(extractor)[name] for name in ("modality", "key"))
            found = stale_rows(self.utterances, state, modality=Modality(modality), key=key)
            del found[Why.NEVER]
            self._states[extractor] = state, np.logical_or.reduce(list(found.values()))
        return self._states[extractor]

    def lacking(
        self, extractor: str, rows: NDArray[np.int64] | slice = slice(None)
    ) -> NDArray[Any]:
        """Why each of ``rows`` lacks the feature, shape (n_rows,); empty where it has it."""
        reasons = layout.reasons(self.state(extractor), rows)
        return np.where(self.stale(extractor)[rows], STALE, reasons)

    def features(
        self, extractor: str, array: str, split: str | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A fixed-size feature of the active rows, and which of them have it.

        Returns:
            values, shape (n_rows, …), and a mask, shape (n_rows,). Rows without the feature,
            stale ones among them, hold NaN (0 in integer arrays).

        Raises:
            UsageError: there is no such feature, or it has a number of frames for each row.
        """
        rows, stored = self.rows(split), self.array(extractor, array)
        if isinstance(stored, RaggedArray):
            raise UsageError(f"{extractor}/{array} has frames: read it with frames(), partitions()")
        with self.reading():
            values = stored.gather(rows)
        return values, np.asarray(self.lacking(extractor, rows) == "", dtype=bool)

    def frames(self, extractor: str, array: str, name: str) -> NDArray[Any]:
        """A ragged feature of one utterance, shape (n_frames, …); none if it is missing."""
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
        with self.reading():
            return self.array(extractor, array).read(rows)

    def splits(self) -> list[str]:
        """The splits that have rows, MELD's own first and in their order."""
        present = set(self.utterances["split"][self.rows()].tolist())
        return [*(s for s in SPLITS if s in present), *sorted(present.difference(SPLITS))]

    def reading(self) -> AbstractContextManager[None]:
        """Says in one line what Icechunk says while the block reads."""
        return place_of(self.url).explained("cannot be read", RunError, (icechunk.IcechunkError,))

    def group(self, extractor: str) -> zarr.Group:
        """The Zarr group of an extractor.

        Raises:
            UsageError: the store has no such extractor.
        """
        if extractor not in self.extractors:
            held = ", ".join(self.extractors) or "nothing"
            raise UsageError(f"store {self.url}: it holds {held}, not {extractor!r}")
        return group_of(self.root, extractor)

    def array(self, extractor: str, array: str) -> FeatureArray:
        """The array, opened once: opening reads where every row's frames lie."""
        name = (extractor, array)
        if name not in self._arrays:
            spec = self.array_spec(extractor, array)
            self._arrays[name] = open_array(self.group(extractor), spec, self.stale(extractor))
        return self._arrays[name]
