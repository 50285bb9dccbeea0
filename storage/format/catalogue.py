"""The catalogue in the store: rows are appended, changed in place, never moved.

An utterance keeps its row for ever; one that left the data set is marked inactive. A changed
label or speaker is a changed cell; a changed clip or text changes its checksum, and with it
what the plan calls stale.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import Utterance, utterance_id
from meldflow.storage.format.columns import ColumnTable
from meldflow.storage.format.layout import UTTERANCE_COLUMNS

NO_FILE = bytes(32)
"""The checksum of a clip that is not there."""

COMPARED = tuple(
    column.name for column in UTTERANCE_COLUMNS if column.name not in ("active", "clip_mtime_ns")
)
"""Columns in which two states of an utterance may differ so that somebody cares."""


MADE: Mapping[str, Callable[[Utterance], Any]] = {
    "clip_sha": lambda one: one.clip.sha256,
    "text_sha": lambda one: text_checksum(one.text),
    "active": lambda _: 1,
}
"""How columns are made that the utterance or its clip do not call so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueChange:
    """What a merge did to the catalogue, in utterances."""

    appended: int
    changed: int
    removed: int
    unchanged: int

    def __str__(self) -> str:
        """For example ``3 new, 1 changed, 0 removed, 296 unchanged``."""
        return (
            f"{self.appended} new, {self.changed} changed, "
            f"{self.removed} removed, {self.unchanged} unchanged"
        )


def merge_catalogue(
    table: ColumnTable, utterances: Sequence[Utterance], store: str
) -> CatalogueChange:
    """Makes ``table`` say what ``utterances`` say, touching only rows that differ.

    Raises:
        UsageError: none of the utterances of ``store`` is among them. It follows one data set;
            another one would mark everything as removed.
    """
    known = ids(table)
    active = {name for name, on in zip(known, table["active"], strict=True) if on}
    if active and active.isdisjoint(one.id for one in utterances):
        raise UsageError(
            f"store {store}: none of its {len(active)} utterances is in this data set "
            f"(it holds {min(active)}, for one); name another --store"
        )
    before, n_known = table.copy(), len(table)
    row_of = {name: row for row, name in enumerate(known)}
    rows = np.array([row_of.setdefault(one.id, len(row_of)) for one in utterances], dtype=np.int64)
    table.grow(len(row_of))
    wanted = _columns(utterances)
    unlike = [differs(table[name][rows], values) for name, values in wanted.items()]
    touched = np.logical_or.reduce([rows >= n_known, *unlike])
    table.put(rows[touched], {name: values[touched] for name, values in wanted.items()})
    gone = np.setdiff1d(np.flatnonzero(table["active"] == 1), rows)
    table.put(gone, {"active": 0})
    return change_between(before, table)


def change_between(before: ColumnTable, after: ColumnTable) -> CatalogueChange:
    """What happened to a catalogue; rows are only ever appended."""
    n = len(before)
    was = np.asarray(before["active"] == 1)
    kept, added = np.asarray(after["active"][:n] == 1), np.asarray(after["active"][n:] == 1)
    unlike = np.logical_or.reduce(
        [differs(before[name], after[name][:n]) for name in (*COMPARED, "active")]
    )
    changed = kept & unlike
    return CatalogueChange(
        appended=int(added.sum()),
        changed=int(changed.sum()),
        removed=int((was & ~kept).sum()),
        unchanged=int((kept & ~unlike).sum()),
    )


def ids(table: ColumnTable) -> list[str]:
    """The id of every row's utterance, e.g. ``train/dia12_utt3``."""
    columns = (table[name].tolist() for name in ("split", "dialogue", "utterance", "name"))
    return list(map(utterance_id, *columns))


def text_checksum(text: str) -> bytes:
    """SHA-256 of the text's UTF-8 bytes, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def differs(one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.bool_]:
    """Where two columns differ, shape (n_rows,); NaN is as good as NaN."""
    unlike = np.asarray(one != other, dtype=bool)
    if one.dtype.kind == "f":
        unlike &= ~(np.isnan(one) & np.isnan(other))
    inner = tuple(range(1, unlike.ndim))
    return np.asarray(unlike.any(axis=inner)) if inner else unlike


def _columns(utterances: Sequence[Utterance]) -> dict[str, NDArray[Any]]:
    """Every column of the catalogue, one entry per utterance."""
    found, n = {}, len(utterances)
    for column in UTTERANCE_COLUMNS:
        name = column.name
        value = MADE.get(name) or attrgetter(name.replace("clip_", "clip."))
        if column.inner:
            joined = b"".join(map(value, utterances))
            found[name] = np.frombuffer(joined, column.memory_dtype).reshape(n, *column.inner)
        else:
            found[name] = np.fromiter(map(value, utterances), column.memory_dtype, n)
    return found
