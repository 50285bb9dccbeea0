"""The fix list: defects of MELD that are known, and what to do about those that have a cure.

It lies beside this module as ``fixes.yaml``. An entry explains one kind of finding about one
utterance; some also correct a time. Texts and labels are never touched: a benchmark's labels
are not ours to change.
"""

from __future__ import annotations

import bisect
import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.dataset.cells import seconds_between
from meldflow.tasks.dataset.records import Finding, Fix, Kind, Row, Table

FILE = Path(__file__).with_name("fixes.yaml")

FIELDS = {"StartTime": "start", "EndTime": "end"}
"""Columns that an entry may set → the fields that they are read into."""


class FixList(BaseModel, frozen=True, extra="forbid"):
    """A version of the list."""

    version: int
    """0: no list is used."""
    entries: tuple[Fix, ...] = Field((), alias="fixes")

    def about(self, tables: Sequence[Table]) -> FixList:
        """Only the entries that speak of these rows."""
        if not self.entries:
            return self
        rows = {table.split: sorted(table.rows, key=lambda row: row.key) for table in tables}
        fitting = tuple(one for one in self.entries if _fits(one, rows.get(one.place[0], [])))
        return self.model_copy(update={"entries": fitting})

    def mend(self, table: Table) -> Table:
        """The table with the times that the list corrects."""
        corrections = {one.utterance: one for one in self.entries if one.set}
        if not corrections:
            return table
        made = table.rows.make
        rows = dataclasses.replace(table.rows, make=lambda cells: _mended(made(cells), corrections))
        return dataclasses.replace(table, rows=rows)

    def explain(self, findings: Iterable[Finding]) -> Iterator[Finding]:
        """The findings, those that the list knows with its id and decision."""
        entries = {(one.kind, one.utterance): one for one in self.entries}
        for finding in findings:
            subject = entries.get((finding.kind, finding.subject))
            entry = subject or entries.get((finding.kind, finding.split))
            yield finding if entry is None else _explained(finding, entry)

    def reports(self) -> Iterator[Finding]:
        """A finding for every defect that no check can see."""
        for one in self.entries:
            if one.kind is Kind.REPORTED:
                split, _ = one.place
                yield Finding(one.kind, split, one.utterance, one.why, "used as it is", one.id)

    def seen(self, findings: Iterable[Finding]) -> tuple[Fix, ...]:
        """The entries that explain one of ``findings``."""
        known = {finding.known for finding in findings}
        return tuple(one for one in self.entries if one.id in known)


NONE = FixList(version=0)
"""The list that knows nothing."""


def digest(text: str) -> str:
    """The first 12 hexadecimal digits of the SHA-256 of a text's UTF-8 bytes."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def load_fixes(file: Path = FILE) -> FixList:
    """The fix list of a file.

    Raises:
        UsageError: it is none; the message names the entry and what is wrong with it.
    """
    try:
        return FixList.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())  # of many lines
        raise UsageError(f"fix list {file}: {why}") from error


def _fits(entry: Fix, rows: Sequence[Row]) -> bool:
    """Whether the rows, sorted by their ids, have the entry's text at its place."""
    _, key = entry.place
    if key is None:
        return digest("\n".join(row.text for row in rows)) == entry.text
    position = bisect.bisect_right(rows, key, key=lambda row: row.key)
    return position > 0 and digest(rows[position - 1].text) == entry.text


def _mended(row: Row, corrections: Mapping[str, Fix]) -> Row:
    if (entry := corrections.get(row.id)) is None:
        return row
    changes = {FIELDS[column]: change for column, change in entry.set.items()}
    now: Any = {name: one.now for name, one in changes.items() if getattr(row, name) == one.was}
    row = dataclasses.replace(row, **now)
    return dataclasses.replace(row, seconds=seconds_between(row.start, row.end))


def _explained(finding: Finding, entry: Fix) -> Finding:
    decision = "; ".join(f"{name} is read as {one.now}" for name, one in entry.set.items())
    return dataclasses.replace(finding, known=entry.id, decision=decision or finding.decision)
