"""The branches of runs, until what is on them is published."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from typing import Any

import icechunk
import zarr

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
    """Makes what was written durable.

    Args:
        repository: of the session.
        session: of a branch.
        message: what readers see of it.
        metadata: more of that, as JSON values.
        check: raises where it must not happen any more; called before every try.
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
