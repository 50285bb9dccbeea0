"""The branches of runs, until what is on them is published.

Readers of ``main`` see nothing of a run that is under way, died, or ended over its failure limit.
What it has committed is on its branch, and stays there until a run goes on with it or somebody
discards it by name.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import icechunk
import numpy as np
import zarr

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import FeatureSpec
from meldflow.storage.format import run_table
from meldflow.storage.format.columns import ColumnTable, group_of
from meldflow.storage.format.layout import OK, STATE_COLUMNS
from meldflow.storage.places.patience import open_root, patiently, unless

BRANCH_PREFIX = "run-"


def root_of(repository: icechunk.Repository, branch: str) -> zarr.Group:
    """All that the branch holds, read-only."""
    return open_root(patiently(lambda: repository.readonly_session(branch)))


def tip_of(repository: icechunk.Repository, branch: str) -> icechunk.SnapshotInfo:
    """The branch's last commit."""
    return patiently(lambda: next(repository.ancestry(branch=branch)))


def run_branches(repository: icechunk.Repository) -> list[str]:
    """Branches of runs that are under way or died."""
    return [one for one in patiently(repository.list_branches) if one.startswith(BRANCH_PREFIX)]


def commit(
    repository: icechunk.Repository,
    session: icechunk.Session,
    message: str,
    metadata: Mapping[str, Any],
    check: Callable[[], None],
) -> None:
    """Makes what was written to a branch durable; ``message`` and ``metadata`` tell of it.

    ``check`` raises where it must not happen any more, and is called before every try.
    """
    told, branch = {**metadata, "id": uuid.uuid4().hex}, str(session.branch)

    def once() -> None:
        check()
        with unless(lambda: tip_of(repository, branch).metadata.get("id") == told["id"]):
            session.commit(message, metadata=told)

    patiently(once)


def move(
    repository: icechunk.Repository, branch: str, to: str, *, base: str, check: Callable[[], None]
) -> None:
    """Makes another snapshot the tip of a branch whose tip is ``base``; see ``commit``."""

    def once() -> None:
        check()
        with unless(lambda: repository.lookup_branch(branch) == to):
            repository.reset_branch(branch, to, from_snapshot_id=base)

    patiently(once)


_WHOSE = [column for column in STATE_COLUMNS if column.name in ("status", "run")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unpublished:
    """What a run has committed so far."""

    run: str
    snapshot: str
    """Id of its last commit."""
    time: datetime
    """When that was."""
    base: str
    """Id of the published state that it started from."""
    extractors: frozenset[str]
    rows: Mapping[str, int]
    """Extractor → rows that have their feature by this run; only those that have some."""

    def __str__(self) -> str:
        rows = ", ".join(f"{name} {number:,}" for name, number in self.rows.items())
        return f"{rows} rows" if rows else "no row"


def unpublished(repository: icechunk.Repository) -> list[Unpublished]:
    """Every run with a commit that ``main`` does not have."""
    tips = {branch: tip_of(repository, branch) for branch in run_branches(repository)}
    main = tip_of(repository, "main")
    published = {main.id, main.metadata.get("base")}  # and its run was killed as it tidied up
    return [
        Unpublished(
            run=branch,
            snapshot=tip.id,
            time=tip.written_at,
            # Not by their ancestry: maintenance forgets what lies between.
            base=str(tip.metadata.get("base")),
            extractors=frozenset(tip.metadata.get("extractors", ())),
            rows=_rows(root_of(repository, branch), branch, tip.metadata.get("extractors", ())),
        )
        for branch, tip in tips.items()
        if tip.metadata.get("run") == branch and tip.id not in published
    ]


def _rows(root: zarr.Group, run: str, extractors: Sequence[str]) -> dict[str, int]:
    found, tries = {}, np.flatnonzero(run_table.read_table(root)["id"] == run)
    for name in extractors:
        state = ColumnTable(group_of(root, name), _WHOSE)
        found[name] = int((np.isin(state["run"], tries) & (state["status"] == OK)).sum())
    return {name: number for name, number in found.items() if number}


def resumable(
    repository: icechunk.Repository, url: str, specs: Sequence[FeatureSpec]
) -> Unpublished | None:
    """The newest run that died, which a run of ``specs`` may go on with.

    It started from today's ``main`` and wanted no other extractors: what it did of those would be
    published half done.

    Raises:
        UsageError: others have done what nobody could go on with once ``specs`` are published.
    """
    base, wanted = tip_of(repository, "main").id, {spec.name for spec in specs}
    dead = [one for one in unpublished(repository) if one.base == base]
    mine = [one for one in dead if wanted.issuperset(one.extractors)]
    found = max(mine, key=lambda one: one.time, default=None)
    for one in dead:
        if one.rows and one is not found:
            lacking = " ".join(f"--only {name}" for name in sorted(one.extractors - wanted))
            cure = f"go on with it by adding {lacking}, or give" if lacking else "give"
            raise UsageError(
                f"store {url}: {one.run} ended before it was published, with {one} done; nobody "
                f"could go on with it after this run: {cure} it up by `meldflow discard {url} "
                f"{one.run}`"
            )
    return found
