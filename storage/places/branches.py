"""The branches of runs: those under way, and those that died and can be gone on with."""

from __future__ import annotations

from collections.abc import Sequence

import icechunk
import zarr

from meldflow.models.schema.features import FeatureSpec

BRANCH_PREFIX = "run-"


def root_of(repository: icechunk.Repository, branch: str) -> zarr.Group:
    """All that the branch holds, read-only."""
    return zarr.open_group(repository.readonly_session(branch).store, mode="r")


def run_branches(repository: icechunk.Repository) -> list[str]:
    """Branches of runs that are under way or died."""
    return [one for one in repository.list_branches() if one.startswith(BRANCH_PREFIX)]


def resumable(repository: icechunk.Repository, specs: Sequence[FeatureSpec]) -> str | None:
    """The branch of the newest dead run that a run of ``specs`` may go on with.

    It committed something, started from today's ``main`` and wanted no other extractors: what it
    did of those would be published half done.
    """
    base = repository.lookup_branch("main")
    wanted = {spec.name for spec in specs}
    tips = {branch: next(repository.ancestry(branch=branch)) for branch in run_branches(repository)}
    # Not by their ancestry: maintenance forgets what lies between.
    usable = {
        branch: tip.written_at
        for branch, tip in tips.items()
        if tip.id != base
        and tip.metadata.get("base") == base
        and wanted.issuperset(tip.metadata.get("extractors", ()))
    }
    return max(usable, key=usable.__getitem__, default=None)
