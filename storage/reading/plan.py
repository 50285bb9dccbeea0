"""What a run has to do: the rows whose features are not those that are wanted, and why.

A row is stale when its stored (source checksum, extractor key) differs from the wanted one.
That one comparison gives resume, re-extraction on new data, re-extraction of one changed
extractor and, on request, another try at failures. It reads small columns only.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.media import Modality, Reason
from meldflow.models.schema.utterances import Utterance
from meldflow.storage.format import layout
from meldflow.storage.format.arrays import by_partition
from meldflow.storage.format.catalogue import CatalogueChange, merge_catalogue
from meldflow.storage.format.columns import ColumnTable
from meldflow.storage.format.layout import FAILED, NEVER
from meldflow.storage.places import location
from meldflow.storage.places.branches import resumable, root_of
from meldflow.storage.places.place import place_of

SOURCE_COLUMN = dict.fromkeys(Modality, "clip_sha") | {Modality.TEXT: "text_sha"}
"""The checksum that a feature of each modality depends on."""


class Why(StrEnum):
    """Why a row is stale; of several reasons the first one counts."""

    NEVER = "never extracted"
    EXTRACTOR = "extractor changed"
    CLIP = "clip changed"
    TEXT = "text changed"
    RETRY = "failed before"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PartitionPlan:
    """The stale rows of one partition."""

    partition: int
    rows: Mapping[str, NDArray[np.int64]]
    """Extractor name → stale rows, ascending; only extractors that have some. Views of arrays that
    all partitions share: as Python's numbers, a million rows would take a hundred megabytes."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plan:
    """The work of a run, by partition; no partition is there twice."""

    partitions: tuple[PartitionPlan, ...]
    why: Mapping[str, Mapping[Why, int]]
    """Extractor name → reason → stale rows; only extractors and reasons that have some."""

    @property
    def n_utterances(self) -> int:
        """Utterances with at least one stale feature."""
        rows = (np.concatenate(list(part.rows.values())) for part in self.partitions)
        return sum(np.unique(one).size for one in rows)

    def stale(self) -> dict[str, int]:
        """Extractor name → number of stale rows."""
        return {name: sum(reasons.values()) for name, reasons in self.why.items()}


def stale_rows(
    utterances: ColumnTable,
    state: ColumnTable,
    *,
    modality: Modality,
    key: str,
    retry: Collection[str] = (),
) -> dict[Why, NDArray[np.bool_]]:
    """Why → which active rows are stale for that reason, shape (n_rows,); no row is in two.

    ``key`` is the extractor's as it is wanted, ``retry`` holds failures worth another try.
    """
    wanted, again = utterances[SOURCE_COLUMN[modality]], state.at("status") == FAILED
    failed = np.flatnonzero(again)
    again[failed] = [reason in retry for reason in state.at("reason", failed).tolist()]
    tests = {
        Why.NEVER: state.at("status") == NEVER,
        Why.EXTRACTOR: state.at("key") != key,
        Why.TEXT if modality is Modality.TEXT else Why.CLIP: (state.at("source_sha") != wanted).any(
            axis=1
        ),
        Why.RETRY: again,
    }
    left = np.asarray(utterances["active"] == 1, dtype=bool)
    found: dict[Why, NDArray[np.bool_]] = {}
    for why, test in tests.items():
        found[why] = left & test.astype(bool)
        left = left & ~found[why]
    return found


def plan(
    utterances: ColumnTable,
    states: Iterable[tuple[FeatureSpec, ColumnTable]],
    *,
    partition: int,
    retry: Collection[str] = (),
) -> Plan:
    """The stale rows of every extractor, gathered by partition; one state is read at a time."""
    work: dict[int, dict[str, NDArray[np.int64]]] = {}
    why: dict[str, dict[Why, int]] = {}
    for spec, state in states:
        again = (*retry, Reason.CHANGED)  # whose clip was another by the time it was read
        found = stale_rows(utterances, state, modality=spec.modality, key=spec.key, retry=again)
        counts = {reason: int(rows.sum()) for reason, rows in found.items() if rows.any()}
        if counts:
            why[spec.name] = counts
        rows = np.flatnonzero(np.logical_or.reduce(list(found.values())))
        for group in by_partition(rows, partition):
            work.setdefault(int(group[0]) // partition, {})[spec.name] = group
    return Plan(
        partitions=tuple(PartitionPlan(partition=p, rows=work[p]) for p in sorted(work)), why=why
    )


def preview(
    url: str,
    specs: Sequence[FeatureSpec],
    utterances: Iterable[Utterance],
    *,
    partition: int = 64,
    retry: Collection[str] = (),
) -> tuple[CatalogueChange, Plan]:
    """What a run would do, without a lock and without writing anything.

    Args:
        url: the store; it need not be there.
        specs: the extractors whose features are wanted.
        utterances: what the data set holds now.
        partition: utterances per partition, where there is no store yet.
        retry: reasons of failures that are worth another try.

    Raises:
        UsageError: the store cannot be read, or holds another data set, or see ``resumable``.
    """
    place, root = place_of(url), None
    with place.explained("cannot be read"):
        if place.holds_store():
            repository = location.open_repository(url)
            dead = resumable(repository, url, specs)
            root = root_of(repository, dead.run if dead else "main")
            partition = layout.partition_of(root)
        else:
            place.check_vacant()
        catalogue, needed = layout.utterance_table(root), {"active", *SOURCE_COLUMN.values()}

        def settle(name: str) -> None:
            if name not in needed:
                catalogue.forget(name)

        def states() -> Iterator[tuple[FeatureSpec, ColumnTable]]:
            for spec in specs:
                state = layout.state_table(root, spec)
                state.grow(len(catalogue))
                yield spec, state

        change = merge_catalogue(catalogue, utterances, url, settle)
        return change, plan(catalogue, states(), partition=partition, retry=retry)
