"""What a run has to do: the rows whose features are not those that are wanted.

A row is stale when its stored (source checksum, extractor key) differs from the wanted one.
That one comparison gives resume, re-extraction on new data, re-extraction of one changed
extractor and, with ``retry_failed``, another try at failures. It reads small columns only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.schema import FeatureSpec, Modality
from storage.columns import ColumnTable
from storage.layout import FAILED, NEVER

SOURCE_COLUMN = {
    Modality.AUDIO: "clip_sha",
    Modality.VIDEO: "clip_sha",
    Modality.TEXT: "text_sha",
}
"""The checksum that a feature of each modality depends on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionPlan:
    """The stale rows of one partition."""

    partition: int
    rows: Mapping[str, tuple[int, ...]]
    """Extractor name → stale rows, ascending; only extractors that have some."""

    @property
    def all_rows(self) -> tuple[int, ...]:
        """Every row that some extractor has to redo, ascending."""
        return tuple(sorted(set().union(*self.rows.values())))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The work of a run, by partition."""

    partitions: tuple[PartitionPlan, ...]

    @property
    def n_utterances(self) -> int:
        """Utterances with at least one stale feature."""
        return sum(len(part.all_rows) for part in self.partitions)

    def stale(self) -> dict[str, int]:
        """Extractor name → number of stale rows."""
        counts: dict[str, int] = {}
        for part in self.partitions:
            for name, rows in part.rows.items():
                counts[name] = counts.get(name, 0) + len(rows)
        return counts


def stale_mask(
    utterances: ColumnTable,
    state: ColumnTable,
    *,
    modality: Modality,
    key: str,
    retry_failed: bool = False,
) -> NDArray[np.bool_]:
    """Which rows are active and not up to date, shape (n_rows,)."""
    wanted = utterances[SOURCE_COLUMN[modality]]
    stale = (state["status"] == NEVER) | (state["key"] != key)
    stale |= (state["source_sha"] != wanted).any(axis=1)
    if retry_failed:
        stale |= state["status"] == FAILED
    return np.asarray(stale & (utterances["active"] == 1), dtype=bool)


def plan(
    utterances: ColumnTable,
    states: Mapping[str, ColumnTable],
    specs: Sequence[FeatureSpec],
    *,
    partition: int,
    retry_failed: bool = False,
) -> Plan:
    """The stale rows of every extractor in ``specs``, gathered by partition."""
    work: dict[int, dict[str, tuple[int, ...]]] = {}
    for spec in specs:
        mask = stale_mask(
            utterances,
            states[spec.name],
            modality=spec.modality,
            key=spec.key,
            retry_failed=retry_failed,
        )
        rows = np.flatnonzero(mask)
        bounds = np.flatnonzero(np.diff(rows // partition)) + 1
        for group in np.split(rows, bounds) if rows.size else []:
            work.setdefault(int(group[0]) // partition, {})[spec.name] = tuple(group.tolist())
    return Plan(partitions=tuple(PartitionPlan(partition=p, rows=work[p]) for p in sorted(work)))
