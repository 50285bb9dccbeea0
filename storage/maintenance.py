"""Forgetting old states and freeing what only they need."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from meldflow.models.schema.errors import UsageError
from meldflow.storage.places import location
from meldflow.storage.places.place import place_of

MOST_DAYS = 36_500


@dataclass(frozen=True, slots=True, kw_only=True)
class Maintained:
    """What maintenance did, or would do."""

    expired: int
    """Snapshots that are forgotten."""
    objects: int
    """Files or objects that were deleted."""
    bytes: int


def maintain_store(url: str, *, older_than_days: float = 30.0, dry_run: bool = False) -> Maintained:
    """Forgets states older than that, and deletes what no state needs any more.

    The current state, tagged ones and what a dead run can go on from stay, however old. Under the
    writer's lock: a run's chunks belong to no state before its commit, and would be lost.

    Args:
        url: the store.
        older_than_days: age of the states and of the unused objects, days.
        dry_run: only tells what unused objects there are; nothing is forgotten or deleted.

    Raises:
        UsageError: there is no store, or a run is writing to it.
    """
    if not 0 <= older_than_days <= MOST_DAYS:
        raise UsageError(f"an age of {older_than_days:g} days is none; give 0 to {MOST_DAYS:,}")
    with location.locked(url) as (repository, lock):
        age = datetime.timedelta(days=older_than_days)
        before = datetime.datetime.now(datetime.UTC) - age
        with place_of(url).explained("maintenance stopped"):
            expired = set() if dry_run else repository.expire_snapshots(before)
            lock.check()
            freed = repository.garbage_collect(before, dry_run=dry_run)
    return Maintained(
        expired=len(expired),
        objects=freed.chunks_deleted
        + freed.manifests_deleted
        + freed.snapshots_deleted
        + freed.transaction_logs_deleted
        + freed.attributes_deleted,
        bytes=freed.bytes_deleted,
    )
