"""What is exported: active rows and extractors of one snapshot, read a partition at a time.

Every format writes the same rows in the same order, so that row i of one file and row i of
another are the same utterance.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import STALE
from meldflow.storage.format import layout
from meldflow.storage.format.arrays import by_partition
from meldflow.storage.format.axes import UTTERANCE
from meldflow.storage.reading.snapshot import Snapshot

STATUS = {layout.NEVER: "never", layout.OK: "ok", layout.FAILED: "failed"}
"""What the number in a ``status`` column means."""

INACTIVE = "no longer in the data set"
INCOMPLETE = "lacks a feature of an exported extractor"
OTHER_SPLIT = "in none of the splits train, dev and test"

_HEXADECIMAL = {"clip_sha": "clip_sha256", "text_sha": "text_sha256"}
_RENAMED = {"utterance": "number"}
"""The number of an utterance in its dialogue makes room for its id, as in ``Snapshot.dataset``."""
_NOT_EXPORTED = ("active", "clip_mtime_ns")


class Exported:
    """An extractor of the selection: what it is, the state of its rows, its arrays."""

    def __init__(self, snapshot: Snapshot, name: str) -> None:
        self.name = name
        self.attributes = snapshot.attributes(name)
        """Key, version, parameters, weights and arrays, as the store describes them."""
        self.state = snapshot.state(name)
        self.lacking = snapshot.lacking(name)
        """Why every row of the store lacks the feature; empty where it has it."""
        self.arrays = tuple(
            snapshot.array(name, one) for one in layout.array_specs(self.attributes)
        )

    def columns(self, rows: NDArray[np.int64]) -> dict[str, NDArray[Any]]:
        """The state of ``rows`` by name, each of shape (n_rows,); text as objects."""
        status = np.array([STATUS[one] for one in self.state["status"][rows]], dtype=object)
        stale = self.lacking[rows] == STALE
        status[stale] = STALE
        return {
            "status": status,
            "reason": self.state["reason"][rows],
            "message": self.state["message"][rows],
            "key": self.state["key"][rows],
            "stale": stale.astype(bool),
            "present": self.has(rows),
        }

    def has(self, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of ``rows`` have the feature, shape (n_rows,)."""
        return np.asarray(self.lacking[rows] == "", dtype=bool)

    def reasons(self, rows: NDArray[np.int64]) -> list[tuple[int, str, str]]:
        """(row, reason, message) of those of ``rows`` that lack the feature."""
        rows = rows[~self.has(rows)]
        columns = (rows, self.lacking[rows], self.state["message"][rows])
        return list(zip(*(one.tolist() for one in columns), strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Rows and extractors of a pinned snapshot."""

    snapshot: Snapshot
    ref: str
    """The branch, tag or id that was asked for."""
    extractors: tuple[Exported, ...]
    rows: NDArray[np.int64]
    """Rows of the store, ascending, shape (n_rows,)."""
    left_out: Mapping[str, int]
    """Why rows of the store are not among them → how many."""

    @property
    def total(self) -> int:
        """What ``advance`` is told in all while it is written: rows times arrays."""
        return len(self.rows) * sum(len(one.arrays) for one in self.extractors)

    def keep(self, mask: NDArray[np.bool_], otherwise: str) -> Self:
        """The rows in ``mask``; the others are left out for the reason ``otherwise``."""
        dropped = int((~mask).sum())
        if not dropped:
            return self
        left_out = {**self.left_out, otherwise: self.left_out.get(otherwise, 0) + dropped}
        return replace(self, rows=self.rows[mask], left_out=left_out)

    def labelled(self, column: str, labels: Collection[str], otherwise: str) -> Self:
        """Those of train, dev and test whose ``column`` is one of ``labels``, as trainers read."""
        table = self.snapshot.utterances
        kept = self.keep(np.isin(table["split"][self.rows], ("train", "dev", "test")), OTHER_SPLIT)
        return kept.keep(np.isin(table[column][kept.rows], list(labels)), otherwise)

    def partitions(self) -> list[NDArray[np.int64]]:
        """The rows, partition by partition."""
        return by_partition(self.rows, self.snapshot.partition)

    def utterances(self) -> dict[str, NDArray[Any]]:
        """The catalogue by column, each of shape (n_rows,); text as objects, checksums in hex."""
        table = self.snapshot.utterances
        columns = {UTTERANCE: np.array(self.snapshot.ids, dtype=object)[self.rows]}
        for column in layout.UTTERANCE_COLUMNS:
            values = table[column.name][self.rows]
            if column.name in _HEXADECIMAL:
                hexadecimal = [one.tobytes().hex() for one in values]
                columns[_HEXADECIMAL[column.name]] = np.array(hexadecimal, dtype=object)
            elif column.name not in _NOT_EXPORTED:
                columns[_RENAMED.get(column.name, column.name)] = values
        return columns


def select(
    snapshot: Snapshot, *, ref: str, only: Sequence[str] = (), complete: bool = False
) -> Selection:
    """The active rows of ``snapshot``, and the extractors that were asked for.

    Args:
        snapshot: what to export.
        ref: how the user named it.
        only: names of extractors; all where empty.
        complete: leave out utterances that lack a feature of one of them.

    Raises:
        UsageError: the store is empty or has no such extractor, or no utterance is left.
    """
    names = tuple(dict.fromkeys(only)) or snapshot.extractors
    selection = Selection(
        snapshot=snapshot,
        ref=ref,
        extractors=tuple(Exported(snapshot, name) for name in names),
        rows=np.arange(len(snapshot.utterances)),
        left_out={},
    ).keep(np.asarray(snapshot.utterances["active"] == 1), INACTIVE)
    if complete:
        has = [one.has(selection.rows) for one in selection.extractors]
        selection = selection.keep(np.logical_and.reduce(has), INCOMPLETE)
    if not selection.rows.size:
        raise UsageError(f"store {snapshot.url}: no utterance is left to export")
    return selection


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a format made of a selection, beyond writing it as it is."""

    selection: Selection
    """What was written: the selection, or what is left of it where the format cannot hold all."""
    remarks: tuple[str, ...] = ()
    """What a reader could take for something else, in plain sentences."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """JSON values for the provenance: how the format's arrays were made."""


Advance: TypeAlias = Callable[[int], None]
