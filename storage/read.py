"""Reading: one pinned snapshot, labelled and lazy.

A reader holds the snapshot that it opened, whatever runs publish in the meantime.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import icechunk
import numpy as np
import zarr
from numpy.typing import NDArray

from models.schema import SPLITS, Modality, UsageError
from storage import catalogue, facts, layout, location, runs
from storage.columns import Column, ColumnTable, array_of, group_of
from storage.plan import stale_mask

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

LABELS = ("split", "dialogue", "utterance", "name", "speaker", "text", "emotion")
"""Columns of the catalogue that label every row of a data set."""


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


def open_store(url: str, ref: str = "main") -> Snapshot:
    """A snapshot of the store at ``url``, pinned.

    Args:
        url: the store's folder.
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
    data set included; ``active`` tells them apart, and every method here leaves them out.
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

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever published in it."""
        return layout.UTTERANCES not in self.root

    @cached_property
    def utterances(self) -> ColumnTable:
        """The whole catalogue, one entry per row."""
        if self.is_empty:
            raise UsageError(f"store {self.url}: it is empty; `meldflow extract` fills it")
        return ColumnTable.read(group_of(self.root, layout.UTTERANCES), layout.UTTERANCE_COLUMNS)

    @cached_property
    def extractors(self) -> tuple[str, ...]:
        """Names of the extractors that the store holds, sorted."""
        groups = (
            f"{modality}/{name}"
            for modality in sorted(self.root.group_keys())
            if modality not in (layout.UTTERANCES, facts.GROUP, runs.GROUP)
            for name in sorted(group_of(self.root, modality).group_keys())
        )
        return tuple(groups)

    def attributes(self, extractor: str) -> dict[str, Any]:
        """Key, version, parameters, weights and arrays of an extractor.

        Raises:
            UsageError: the store has no such extractor.
        """
        return dict(self._group(extractor).attrs)

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
        return ColumnTable.read(self._group(extractor), layout.STATE_COLUMNS)

    def features(
        self, extractor: str, array: str, split: str | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """A fixed-size feature of the active rows, and which of them have it.

        Returns:
            values, shape (n_rows, …), and a mask, shape (n_rows,). Rows without the feature
            hold NaN (0 in integer arrays).
        """
        rows = self.rows(split)
        values = np.asarray(array_of(self._group(extractor), array)[:])[rows]
        return values, np.asarray(self.state(extractor)["status"][rows] == layout.OK)

    def frames(self, extractor: str, array: str, name: str) -> NDArray[Any]:
        """A ragged feature of one utterance, shape (n_frames, …); no frames if it failed."""
        row, group = self.row(name), self._group(extractor)
        ends = self._ends(extractor, array)
        start, size = int(ends["start"][row]), int(ends["row_size"][row])
        return np.asarray(array_of(group, array)[start : start + size])

    def iter_frames(self, extractor: str, array: str) -> Iterator[tuple[int, NDArray[Any]]]:
        """(row, frames) of every active row, read a partition at a time.

        A partition read whole costs about a third of the CPU of its rows read one by one.
        """
        group, ends = self._group(extractor), self._ends(extractor, array)
        size = int(self.root.attrs["partition"])  # type: ignore[arg-type]
        for rows in by_partition(self.rows(), size):
            starts, stops = ends["start"][rows], ends["start"][rows] + ends["row_size"][rows]
            first, last = int(starts.min()), int(stops.max())
            block = np.asarray(array_of(group, array)[first:last])
            for row, start, stop in zip(
                rows.tolist(), starts.tolist(), stops.tolist(), strict=True
            ):
                yield row, block[start - first : stop - first]

    def dataset(self, extractor: str) -> xr.Dataset:
        """The extractor's arrays as a lazily loaded, labelled xarray data set.

        Ragged arrays appear whole, with their ``_start`` and ``_row_size``.
        """
        import xarray as xr

        opened = xr.open_zarr(
            self.session.store, group=extractor, consolidated=False, zarr_format=3
        )
        labels = {name: ("row", self.utterances[name]) for name in LABELS}
        slots = [name for name in opened if str(name).endswith("_slot")]
        labelled: xr.Dataset = opened.drop_vars(slots).assign_coords(labels)
        return labelled

    def counts(self) -> dict[str, dict[str, Counts]]:
        """Split → extractor → counts by state."""
        found: dict[str, dict[str, Counts]] = {split: {} for split in self.splits()}
        for extractor in self.extractors:
            state, attributes = self.state(extractor), self.attributes(extractor)
            modality = Modality(attributes["modality"])
            stale = stale_mask(self.utterances, state, modality=modality, key=attributes["key"])
            for split in found:
                rows = self.rows(split)
                found[split][extractor] = _count(state["status"][rows], stale[rows])
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

        ``clip`` is the file's path. The others are the fields of ``models.schema.AudioFacts``
        and ``VideoFacts`` and their ``damage``, named ``audio_codec``, ``video_frames_decoded``,
        ``video_damage`` and so on; NaN where the file as it is now was never decoded for that
        modality.
        """
        import pandas as pd

        rows = self.rows()
        index = pd.Index([self.ids[row] for row in rows], name="utterance")
        table = pd.DataFrame({"clip": self.utterances["clip_path"][rows]}, index=index)
        checksums = self.utterances["clip_sha"][rows]
        for modality in facts.RECORDS:
            stored = facts.read(self.root, modality)
            source = stored["source_sha"][rows]
            decoded = (source == checksums).all(axis=1) & source.any(axis=1)
            records = facts.records(stored, modality, rows[decoded])
            cells = [asdict(one) | {"damage": one.damage} for one in records]
            names = [one.name for one in fields(facts.RECORDS[modality])]
            columns = pd.DataFrame(cells, index=index[decoded], columns=[*names, "damage"])
            table = table.join(columns.add_prefix(f"{modality}_"))
        return table

    def random_weights(self) -> tuple[str, ...]:
        """The extractors whose networks have random weights."""
        kinds = {name: self.attributes(name)["weights"]["kind"] for name in self.extractors}
        return tuple(name for name, kind in kinds.items() if kind == "random")

    def _group(self, extractor: str) -> zarr.Group:
        if extractor not in self.extractors:
            held = ", ".join(self.extractors) or "nothing"
            raise UsageError(f"store {self.url}: it holds {held}, not {extractor!r}")
        return group_of(self.root, extractor)

    def _ends(self, extractor: str, array: str) -> dict[str, NDArray[np.int64]]:
        columns = [Column(f"{array}_{end}", "int64", 0) for end in ("start", "row_size")]
        table = ColumnTable.read(self._group(extractor), columns)
        return {end: table[f"{array}_{end}"] for end in ("start", "row_size")}


def by_partition(rows: NDArray[np.int64], size: int) -> list[NDArray[np.int64]]:
    """Ascending rows, cut where a partition of ``size`` rows ends."""
    if not rows.size:
        return []
    return np.split(rows, np.flatnonzero(np.diff(rows // size)) + 1)


def _count(status: NDArray[Any], stale: NDArray[np.bool_]) -> Counts:
    never = status == layout.NEVER
    outdated = stale & ~never
    return Counts(
        ok=int(((status == layout.OK) & ~outdated).sum()),
        failed=int(((status == layout.FAILED) & ~outdated).sum()),
        stale=int(outdated.sum()),
        never=int(never.sum()),
    )
