"""Any bench's JSON as tables: a row per record, or per figure where records hold many."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

WIDE = 9
"""Columns that a table has at most before its records become its columns."""


@dataclass(frozen=True, slots=True)
class Table:
    """A column of names, then columns of figures."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def tables(found: Mapping[str, Any], title: str = "") -> Iterator[Table]:
    """The figures of a bench: those on top in one table, then one for each collection of records.

    Args:
        found: what the bench prints as JSON; ``measured`` is left out.
        title: of the first table.
    """
    plain: dict[str, str] = {}
    further: list[Table] = []
    for key, value in found.items():
        if key == "measured":
            continue
        if records := _records(value):
            further.append(_table(key, records))
        elif isinstance(value, dict) and any(map(_records, value.values())):
            further.extend(tables(value, key))
        else:
            plain |= _flat(key, value)
    if plain:
        yield Table((title, ""), list(plain.items()))
    yield from further


def _records(value: Any) -> dict[str, Any]:
    """Name → record, where the value is a collection of such; empty where it is not."""
    if isinstance(value, dict):
        named = {name: one for name, one in value.items() if one is not None}
        return named if named and all(_is_record(one) for one in named.values()) else {}
    if isinstance(value, list) and all(isinstance(one, dict) for one in value):
        return {str(number): one for number, one in enumerate(value, start=1)}
    return {}


def _is_record(value: Any) -> bool:
    """Whether it is a record, or what several rounds found of one."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
    )


def _table(name: str, records: Mapping[str, Any]) -> Table:
    rows = {one: _flat("", value) for one, value in records.items()}
    keys = list(dict.fromkeys(key for row in rows.values() for key in row))
    if len(keys) < WIDE:
        cells = [(one, *(row.get(key, "") for key in keys)) for one, row in rows.items()]
        return Table((name, *keys), cells)
    cells = [(key, *(row.get(key, "") for row in rows.values())) for key in keys]
    return Table((name, *rows), cells)


def _flat(name: str, value: Any) -> dict[str, str]:
    """Path → figure; of several rounds or records the median."""
    if isinstance(value, dict):
        parts = ((f"{name}.{key}".lstrip("."), one) for key, one in value.items())
        return {path: cell for key, one in parts for path, cell in _flat(key, one).items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        if any(isinstance(one, str) for one in value[0].values()):
            named = {
                next(one for one in record.values() if isinstance(one, str)): record
                for record in value
            }
            return _flat(name, named)
        return _flat(name, {key: [one[key] for one in value] for key in value[0]})
    if isinstance(value, list):
        numbers = [one for one in value if isinstance(one, int | float)]
        return _flat(name, statistics.median(numbers) if numbers else None)
    if isinstance(value, float):
        return {name: f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"}
    return {name: f"{value:,}" if isinstance(value, int) else str(value or "")}
