"""The catalogue in the store: rows are appended, changed in place, never moved.

An utterance keeps its row for ever; one that left the data set is marked inactive. A changed
label or speaker is a changed cell; a changed clip or text changes its checksum, and with it
what the plan calls stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.utterances import Utterance, utterance_id
from meldflow.storage.format.columns import ColumnTable
from meldflow.storage.format.layout import UTTERANCE_COLUMNS

NO_FILE = bytes(32)
"""The checksum of a clip that is not there."""

COMPARED = tuple(
    column.name for column in UTTERANCE_COLUMNS if column.name not in ("active", "clip_mtime_ns")
)
"""Columns in which two states of an utterance may differ so that somebody cares."""


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


def merge_catalogue(table: ColumnTable, utterances: Sequence[Utterance]) -> CatalogueChange:
    """Makes ``table`` say what ``utterances`` say, touching only rows that differ."""
    row_of = {name: row for row, name in enumerate(ids(table))}
    wanted = _columns(utterances)
    rows = np.array([row_of.get(one.id, -1) for one in utterances], dtype=np.int64)
    known = rows >= 0
    unlike = {
        name: differs(table[name][rows[known]], values[known]) for name, values in wanted.items()
    }
    touched, changed = ~known, np.zeros(len(rows), bool)
    touched[known] = np.logical_or.reduce(list(unlike.values()))
    changed[known] = np.logical_or.reduce([unlike[name] for name in (*COMPARED, "active")])
    gone = np.setdiff1d(np.flatnonzero(table["active"] == 1), rows[known])
    first, n_new = len(table), int((~known).sum())
    table.grow(first + n_new)
    rows[~known] = np.arange(first, first + n_new)
    table.put(rows[touched], {name: values[touched] for name, values in wanted.items()})
    table.put(gone, {"active": 0})
    return CatalogueChange(
        appended=n_new,
        changed=int(changed.sum()),
        removed=gone.size,
        unchanged=int((known & ~changed).sum()),
    )


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
    values: dict[str, Iterable[Any]] = {
        "split": (one.split for one in utterances),
        "dialogue": (one.dialogue for one in utterances),
        "utterance": (one.utterance for one in utterances),
        "name": (one.name for one in utterances),
        "speaker": (one.speaker for one in utterances),
        "text": (one.text for one in utterances),
        "emotion": (one.emotion for one in utterances),
        "sentiment": (one.sentiment for one in utterances),
        "seconds": (one.seconds for one in utterances),
        "clip_path": (one.clip.path for one in utterances),
        "clip_seconds": (one.clip.seconds for one in utterances),
        "clip_size": (one.clip.size for one in utterances),
        "clip_mtime_ns": (one.clip.mtime_ns for one in utterances),
        "active": (1 for _ in utterances),
    }
    digests: dict[str, Iterable[bytes]] = {
        "clip_sha": (one.clip.sha256 for one in utterances),
        "text_sha": (text_checksum(one.text) for one in utterances),
    }
    dtypes = {column.name: column.memory_dtype for column in UTTERANCE_COLUMNS}
    n = len(utterances)
    plain = {name: np.fromiter(one, dtypes[name], n) for name, one in values.items()}
    hashed = {
        name: np.frombuffer(b"".join(one), np.uint8).reshape(n, 32) for name, one in digests.items()
    }
    return plain | hashed
