"""What a store was and became: its states, names for them, and how old ones are forgotten."""

import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import icechunk

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.storage.places import branches, location
from meldflow.storage.places.place import place_of
from meldflow.storage.reading.pinned import resolve

_TAG = re.compile(r"[\w.-]+")
_ISO = "%Y-%m-%dT%H:%M:%SZ"

RESCUED = "before-rollback-"
"""Start of the tags that keep what a rollback left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A state of a store: a published one, or what a run has committed so far."""

    snapshot: str
    time: str
    """UTC, ISO 8601."""
    run: str
    """The run that made it; empty for the empty store."""
    summary: str
    tags: tuple[str, ...] = ()
    published: bool = True
    """Whether readers of ``main`` see it, or saw it once."""


def log(url: str) -> tuple[State, ...]:
    """The published states, the newest first.

    Raises:
        UsageError: there is no store.
    """
    repository = location.open_repository(url)
    names = _tags(repository)
    return tuple(
        State(
            snapshot=one.id,
            time=f"{one.written_at:{_ISO}}",
            run=str(one.metadata.get("run", "")),
            summary=one.message,
            tags=tuple(name for name, snapshot in names.items() if snapshot == one.id),
        )
        for one in _published(repository.ancestry(branch="main"))
    )


def unpublished(url: str) -> tuple[State, ...]:
    """What runs have committed that no reader of ``main`` sees, the newest first.

    A run is under way, died, or ended over its failure limit; its name reads its rows.

    Raises:
        UsageError: there is no store.
    """
    repository = location.open_repository(url)
    left = sorted(branches.unpublished(repository), key=lambda one: one.time, reverse=True)
    writer = place_of(url).writer() if left else None
    words = f"under way (process {writer.pid} on {writer.host})" if writer else "not published"
    return tuple(
        State(
            snapshot=one.snapshot,
            time=f"{one.time:{_ISO}}",
            run=one.run,
            # One writes at a time: it goes on with the newest, or has made it.
            summary=f"{'not published' if number else words}; {one} done",
            published=False,
        )
        for number, one in enumerate(left)
    )


def discard(url: str, run: str) -> None:
    """Gives up what a run has committed and did not publish.

    Raises:
        UsageError: there is no such run, or one is writing.
    """
    with location.locked(url) as (repository, _):
        if run not in branches.run_branches(repository):
            raise UsageError(
                f"store {url}: no unpublished run is called {run!r}; `meldflow log` lists them"
            )
        repository.delete_branch(run)


def tag(url: str, name: str, ref: str = "main") -> str:
    """Names a state for good, so that maintenance keeps it; gives its snapshot id.

    Under the writer's lock: Icechunk may lose what two processes write at once to a local disk.

    Raises:
        UsageError: the name is taken or is none, there is no such state, or a run is writing.
    """
    if _TAG.fullmatch(name) is None:
        raise UsageError(
            f"store {url}: {name!r} is no name for a tag; letters, digits, dots, dashes and "
            "underscores may be in one"
        )
    if name == "main" or name.startswith(branches.BRANCH_PREFIX):
        raise UsageError(f"store {url}: {name!r} is the name of a branch; choose another one")
    with location.locked(url) as (repository, _):
        snapshot = resolve(repository, url, ref)
        taken = _tags(repository).get(name)
        if taken not in (None, snapshot):
            raise UsageError(f"store {url}: the tag {name!r} names {taken}; choose another name")
        if taken is None:
            with place_of(url).explained(f"cannot be tagged {name!r}"):
                try:
                    repository.create_tag(name, snapshot)
                except icechunk.IcechunkError as error:
                    if "already exists" not in str(error):  # as a tombstone, which nothing lists
                        raise
                    raise UsageError(
                        f"store {url}: a tag {name!r} was forgotten once, and Icechunk never gives "
                        "a name twice; choose another name"
                    ) from None
    return snapshot


def tags(url: str) -> dict[str, str]:
    """Tag → snapshot id, by name.

    Raises:
        UsageError: there is no store.
    """
    return _tags(location.open_repository(url))


def _tags(repository: icechunk.Repository) -> dict[str, str]:
    return {name: repository.lookup_tag(name) for name in sorted(repository.list_tags())}


def untag(url: str, name: str) -> None:
    """Forgets a tag; what it named is kept as long as anything else that is old.

    Raises:
        UsageError: there is no such tag, or a run is writing.
    """
    with location.locked(url) as (repository, _):
        if name not in repository.list_tags():
            raise UsageError(f"store {url}: no tag is called {name!r}; `meldflow tag` lists them")
        repository.delete_tag(name)


def rollback(url: str, ref: str) -> tuple[str, str]:
    """Makes a published state the current one again; what is left behind keeps a tag.

    Gives the snapshot id that is current now, and the tag of the one that was. What runs did on
    that one and did not publish is kept: they go on once it is current again.

    Raises:
        UsageError: there is no such state, it was never published, it is the current one, or a
            run is writing.
        RunError: a run published in the meantime.
    """
    with location.locked(url) as (repository, lock):
        current, wanted = repository.lookup_branch("main"), resolve(repository, url, ref)
        if wanted == current:
            raise UsageError(f"store {url}: {ref} is the current state already")
        # On main, and those that rollbacks left behind.
        histories = [repository.ancestry(branch="main")]
        histories += [repository.ancestry(tag=name) for name in repository.list_tags()]
        published = {one.id for history in histories for one in _published(history)}
        if wanted not in published:
            raise UsageError(
                f"store {url}: {ref} was never published; `meldflow log` lists what was"
            )
        rescued = f"{RESCUED}{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{current[:6]}"
        repository.create_tag(rescued, current)
        lock.check()
        # Of a run that published, and was killed at once: nobody shall go on with it.
        for branch in branches.run_branches(repository):
            if repository.lookup_branch(branch) in published:
                repository.delete_branch(branch)
        try:
            repository.reset_branch("main", wanted, from_snapshot_id=current)
        except icechunk.IcechunkError as error:
            raise RunError(f"store {url}: a run published in the meantime; try again") from error
        return wanted, rescued


def _published(ancestry: Iterable[icechunk.SnapshotInfo]) -> Iterator[icechunk.SnapshotInfo]:
    """Those that readers of ``main`` ever saw; the first one is the empty store."""
    return (
        one
        for one in ancestry
        if one.metadata.get("published") or one.message == "create the store"
    )


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
        before = datetime.now(UTC) - timedelta(days=older_than_days)
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
