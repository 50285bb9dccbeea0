"""The catalogue in the store: rows are appended, changed in place, never moved.

An utterance keeps its row for ever; one that left the data set is marked inactive. A changed
label or speaker is a changed cell; a changed clip or text changes its checksum, and with it
what the plan calls stale.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import Clip, Utterance, utterance_id
from meldflow.storage.format.columns import ColumnTable, Records, in_columns
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

KEY = ("split", "dialogue", "utterance", "name")
"""Columns that make an utterance's id."""

_OWN = (*KEY, "text", "speaker", "emotion", "sentiment", "seconds")


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


def listing(utterances: Iterable[Utterance]) -> Records[Utterance]:
    """The utterances by the catalogue's columns, times as exact as they came."""
    if isinstance(utterances, Records):
        return utterances
    return Records(in_columns(utterances, _columns), _utterance)


def _utterance(cells: dict[str, Any]) -> Utterance:
    clip = {name: cells[f"clip_{name}"] for name in ("path", "size", "mtime_ns", "seconds")}
    own = {name: cells[name] for name in _OWN}
    return Utterance(**own, clip=Clip(**clip, sha256=bytes(cells["clip_sha"])))


def merge_catalogue(
    table: ColumnTable,
    utterances: Iterable[Utterance],
    store: str,
    settle: Callable[[str], object] = lambda name: None,
) -> CatalogueChange:
    """Makes ``table`` say what ``utterances`` say, touching only cells that differ.

    Args:
        table: the catalogue as it is.
        utterances: what the data set holds now.
        store: what holds the catalogue, for messages.
        settle: told of each column that is done, so that its changes need not wait for the others.

    Raises:
        UsageError: none of the utterances of ``store`` is among them. It follows one data set;
            another one would mark everything as removed.
    """
    listed = listing(utterances)
    rows, was = _rows(table, listed), table.at("active") == 1
    old = rows < len(was)
    if was.any() and not was[rows[old]].any():
        raise UsageError(
            f"store {store}: none of its {was.sum()} utterances is in this data set "
            f"(it holds {min(np.array(ids(table))[was])}, for one); name another --store"
        )
    kept, unlike = np.zeros((2, len(was)), dtype=bool)
    kept[rows[old]] = True
    table.grow(max(len(was), int(rows.max(initial=-1)) + 1))
    for column in UTTERANCE_COLUMNS:
        name, touched = column.name, ~old
        values = listed.columns[name].astype(column.memory_dtype, copy=False)
        if name not in KEY:
            touched[old] = differs(table.at(name, rows[old]), values[old])
        table.put(rows[touched], {name: values[touched]})
        if name == "active":
            table.put(np.flatnonzero(was & ~kept), {name: 0})
        if name in (*COMPARED, "active"):
            unlike[rows[touched & old]] = True
        settle(name)
    return CatalogueChange(
        appended=len(table) - len(was),
        changed=int(unlike.sum()),
        removed=int((was & ~kept).sum()),
        unchanged=int((kept & ~unlike).sum()),
    )


def _rows(table: ColumnTable, listed: Records[Utterance]) -> NDArray[np.int64]:
    """The row of every utterance: its own, or a new one behind all others."""
    pairs, n = [(table.at(name), listed.columns[name]) for name in KEY], len(table)
    if n <= len(listed) and all((known == new[:n]).all() for known, new in pairs):
        return np.arange(len(listed))  # as ever, and maybe some more
    row_of = {id_: row for row, id_ in enumerate(ids(table))}
    told = map(utterance_id, *(listed.columns[name].tolist() for name in KEY))
    return np.array([row_of.setdefault(id_, len(row_of)) for id_ in told], dtype=np.int64)


def ids(table: ColumnTable) -> list[str]:
    """The id of every row's utterance, e.g. ``train/dia12_utt3``."""
    return list(map(utterance_id, *(table.at(name).tolist() for name in KEY)))


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
    """Every column of the catalogue, one entry per utterance; times as exact as they came."""
    found = {}
    for column in UTTERANCE_COLUMNS:
        value = MADE.get(column.name) or attrgetter(column.name.replace("clip_", "clip."))
        held = np.dtype(np.float64) if column.dtype == "float32" else column.memory_dtype
        if column.inner:
            joined = b"".join(map(value, utterances))
            found[column.name] = np.frombuffer(joined, held).reshape(-1, *column.inner)
        else:
            found[column.name] = np.array(list(map(value, utterances)), held)
    return found
