"""The catalogue in the store: rows are appended, changed in place, never moved.

An utterance keeps its row for ever; one that left the data set is marked inactive. A changed
label or speaker is a changed cell; a changed clip or text changes its checksum, and with it
what the plan calls stale.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from models.schema import Utterance, utterance_id
from storage.columns import ColumnTable

NO_FILE = bytes(32)
"""The checksum of a clip that is not there."""


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
    wanted = [_cells(one) for one in utterances]
    known = [(row_of.get(one.id), cells) for one, cells in zip(utterances, wanted, strict=True)]
    changed = [
        (row, cells) for row, cells in known if row is not None and _differs(table, row, cells)
    ]
    new = [cells for row, cells in known if row is None]
    gone = _rows_gone(table, {row for row, _ in known if row is not None})
    first = len(table)
    table.grow(first + len(new))
    _put(table, [*changed, *enumerate(new, start=first)])
    table.put(gone, {"active": 0})
    return CatalogueChange(
        appended=len(new),
        changed=len(changed),
        removed=len(gone),
        unchanged=len(wanted) - len(new) - len(changed),
    )


def ids(table: ColumnTable) -> list[str]:
    """The id of every row's utterance, e.g. ``train/dia12_utt3``."""
    columns = (table[name].tolist() for name in ("split", "dialogue", "utterance", "name"))
    return list(map(utterance_id, *columns))


def text_checksum(text: str) -> bytes:
    """SHA-256 of the text's UTF-8 bytes, 32 bytes."""
    return hashlib.sha256(text.encode()).digest()


def _cells(one: Utterance) -> dict[str, Any]:
    return {
        "split": one.split,
        "dialogue": one.dialogue,
        "utterance": one.utterance,
        "name": one.name,
        "speaker": one.speaker,
        "text": one.text,
        "emotion": one.emotion,
        "sentiment": one.sentiment,
        "seconds": np.float32(one.seconds),
        "clip_path": one.clip.path,
        "clip_seconds": np.float32(one.clip.seconds),
        "clip_size": one.clip.size,
        "clip_mtime_ns": one.clip.mtime_ns,
        "clip_sha": np.frombuffer(one.clip.sha256, np.uint8),
        "text_sha": np.frombuffer(text_checksum(one.text), np.uint8),
        "active": 1,
    }


def _differs(table: ColumnTable, row: int, cells: dict[str, Any]) -> bool:
    return any(not _same(table[name][row], value) for name, value in cells.items())


def _same(stored: Any, wanted: Any) -> bool:
    if isinstance(wanted, np.floating):
        return bool(stored == wanted or (np.isnan(stored) and np.isnan(wanted)))
    return (
        bool(np.array_equal(stored, wanted)) if isinstance(wanted, np.ndarray) else stored == wanted
    )


def _rows_gone(table: ColumnTable, seen: set[int]) -> list[int]:
    return [row for row in np.flatnonzero(table["active"] == 1).tolist() if row not in seen]


def _put(table: ColumnTable, rows: Sequence[tuple[int, dict[str, Any]]]) -> None:
    """Sets the cells of many rows at once, column by column."""
    if not rows:
        return
    index = [row for row, _ in rows]
    for name in rows[0][1]:
        table.put(index, {name: [cells[name] for _, cells in rows]})
