"""Any bench's JSON as tables: a row per record, or per figure where records hold many."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

WIDE = 9
"""Columns that a table has at most before its records become its columns."""

Records: TypeAlias = Sequence[tuple[str, Any]]
"""Name and record."""


@dataclass(frozen=True, slots=True)
class Table:
    """A column of names, then columns of figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(found: Mapping[str, Any], figures: Sequence[str]) -> Iterator[Table]:
    """The figures of a bench, a table for each path that leads to some.

    Args:
        found: what the bench prints as JSON.
        figures: paths in it, ``precisions.*.best``: names and dots, where a star stands for every
            name that there is. What is not there is left out.
    """
    for path in figures:
        value = _at(found, path.split("."))
        title = path.removesuffix(".*").replace(".*", "")
        if records := _records(value):
            yield _table(title, records)
        elif value is not None:
            yield Table((title, ""), list(_flat("", value).items()))


def _at(value: Any, path: Sequence[str]) -> Any:
    """What lies there; None where nothing does."""
    if not path or not isinstance(value, dict):
        return None if path else value
    if path[0] == "*":
        below = {name: _at(one, path[1:]) for name, one in value.items()}
        return {name: one for name, one in below.items() if one is not None}
    return _at(value.get(path[0]), path[1:])


def _records(value: Any) -> Records:
    """The value's records by name, where it is a collection of such; none where it is not."""
    if isinstance(value, dict):
        named = [(name, one) for name, one in value.items() if one is not None]
        return named if all(isinstance(one, dict | list) for _, one in named) else ()
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return [(_name(one) or str(number), one) for number, one in enumerate(value, start=1)]
    return ()


def _table(title: str, records: Records) -> Table:
    rows = [(name, _flat("", value)) for name, value in records]
    keys = list(dict.fromkeys(key for _, row in rows for key in row))
    if len(keys) < WIDE:
        cells = [(name, *(row.get(key, "") for key in keys)) for name, row in rows]
        return Table((title, *keys), cells)
    cells = [(key, *(row.get(key, "") for _, row in rows)) for key in keys]
    return Table((title, *(name for name, _ in rows)), cells)


def _flat(name: str, value: Any) -> dict[str, str]:
    """Path → figure; of several rounds the median."""
    if isinstance(value, dict):
        parts = ((f"{name}.{key}".lstrip("."), one) for key, one in value.items())
        return {path: cell for key, one in parts for path, cell in _flat(key, one).items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        if _name(value[0]):
            return _flat(name, {_name(one): one for one in value})
        return _flat(name, {key: [one[key] for one in value] for key in value[0]})
    if isinstance(value, list):
        numbers = [one for one in value if isinstance(one, int | float)]
        return _flat(name, statistics.median(numbers)) if numbers else {}
    if isinstance(value, float):
        return {name: f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"}
    return {name: f"{value:,}" if isinstance(value, int) else str(value or "")}


def _name(record: Mapping[str, Any]) -> str:
    """The first of its words; empty where it has none."""
    return next((one for one in record.values() if isinstance(one, str)), "")
