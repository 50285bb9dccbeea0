"""The runs that made a store what it is: who, when, with what, one row each.

A row of an extractor's state names the run that wrote it, so that every feature can be traced to
the software and the hardware that gave it.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from meldflow.storage.format.columns import Column, ColumnTable, create_column, group_in
from meldflow.storage.format.layout import ATTACHED, RUNS

KEEP_ATTACHED = 100
"""Runs whose attachments the newest state has. Every array is listed in every commit; those of
earlier runs are in the states that they published."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run that wrote to the store."""

    id: str
    started: str
    """UTC, ISO 8601."""
    finished: str
    """When it was published; empty until then."""
    origin: Mapping[str, Any]
    """What it ran on, as JSON values: versions of software, hardware, the command."""
    summary: str
    """What it did, in one line."""


COLUMNS = tuple(Column(one.name, "str", "") for one in fields(RunRecord))


class RunEntry:
    """What the table of runs says of the one that is under way.

    A run that died and was resumed has a row per try, so that each names what it ran on.
    """

    def __init__(self, root: zarr.Group, id_: str, origin: Mapping[str, Any]) -> None:
        self._table = read_table(root)
        self._record = {"id": id_, "started": origin.get("started") or now()}
        self._written: dict[str, str] = {}
        self._origin = dict(origin)
        self._attached: dict[str, Mapping[str, NDArray[Any]]] = {}
        self.row = len(self._table)
        """Row of this try, which is written with its first commit."""
        self.rows = [*np.flatnonzero(self._table["id"] == id_).tolist(), self.row]
        """Rows of all tries of the run."""

    def note(self, name: str, value: Any) -> None:
        """Adds to the run's origin what was not known when it began."""
        self._origin[name] = value

    def finish(self, summary: str) -> None:
        """Notes that the run is done."""
        self._record |= {"finished": now(), "summary": summary}

    def attach(self, name: str, columns: Mapping[str, NDArray[Any]]) -> None:
        """Keeps small arrays with the run, in its next commit; ``Snapshot.attached`` reads them.

        Args:
            name: what they are, such as ``load``; a second one of that name replaces the first.
            columns: name → numbers or text, shape (n,), the same ``n`` for all.
        """
        self._attached[name] = columns

    def write(self, root: zarr.Group) -> None:
        """Writes what changed."""
        told = {**self._record, "origin": json.dumps(self._origin)}
        self._table.grow(self.row + 1)
        self._table.put([self.row], dict(told.items() - self._written.items()))
        self._table.write(root.require_group(RUNS))
        self._written = told
        if self._attached:
            self._write_attached(root.require_group(ATTACHED))

    def _write_attached(self, group: zarr.Group) -> None:
        for name, columns in self._attached.items():
            place = group.create_group(f"{self.row}/{name}", overwrite=True)
            for column, values in columns.items():
                array = create_column(place, column, values.shape, values.dtype, (name,))
                array[:] = values.astype(object) if values.dtype.kind == "U" else values
        for old in sorted(group.group_keys(), key=int)[:-KEEP_ATTACHED]:
            del group[old]
        self._attached = {}


def read_table(root: zarr.Group) -> ColumnTable:
    """The table as it is stored."""
    return ColumnTable(group_in(root, RUNS), COLUMNS, "run")


def records(root: zarr.Group) -> tuple[RunRecord, ...]:
    """Every run, the oldest first."""
    table = read_table(root)
    names = [column.name for column in COLUMNS]
    rows = zip(*(table[name].tolist() for name in names), strict=True)
    told = (dict(zip(names, row, strict=True)) for row in rows)
    return tuple(RunRecord(**one | {"origin": json.loads(one["origin"])}) for one in told)


def attachment(root: zarr.Group, row: int, name: str) -> dict[str, NDArray[Any]]:
    """The columns that the run of ``row`` attached as ``name``; none where there is nothing."""
    group = group_in(root, f"{ATTACHED}/{row}/{name}")
    found = group.arrays() if group is not None else ()
    return {column: np.asarray(array[:]) for column, array in sorted(found)}


def now() -> str:
    """This moment, UTC, ISO 8601."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
