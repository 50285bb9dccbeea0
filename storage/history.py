"""What a store was and became: its published states, what differs between two, names for them."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import icechunk
import numpy as np

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.storage.format.catalogue import COMPARED, differs
from meldflow.storage.format.layout import NEVER
from meldflow.storage.places import location
from meldflow.storage.places.branches import BRANCH_PREFIX, run_branches
from meldflow.storage.places.place import place_of
from meldflow.storage.reading.pinned import resolve
from meldflow.storage.reading.snapshot import Snapshot, open_store

_TAG = re.compile(r"[\w.-]+")

RESCUED = "before-rollback-"
"""Start of the tags that keep what a rollback left behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A published state of a store."""

    snapshot: str
    time: str
    """UTC, ISO 8601."""
    run: str
    """The run that published it; empty for the empty store."""
    summary: str
    tags: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractorDiff:
    """What differs in one extractor's features; its utterances by their ids."""

    key_before: str
    """Empty where the extractor was not there."""
    key_after: str
    added: tuple[str, ...]
    """Utterances that have a result now and had none."""
    changed: tuple[str, ...]
    """Utterances whose result was made anew: of other content, another key or another run."""
    removed: tuple[str, ...]
    """Utterances that had a result and have none."""

    def __bool__(self) -> bool:
        return bool(self.key_before != self.key_after or self.added or self.changed or self.removed)


@dataclass(frozen=True, slots=True, kw_only=True)
class Diff:
    """What differs between two states."""

    before: str
    """Snapshot id."""
    after: str
    added: tuple[str, ...]
    """Utterances that are in the data set now and were not."""
    removed: tuple[str, ...]
    changed: Mapping[str, tuple[str, ...]]
    """Utterance → the columns of the catalogue that differ, such as ``text`` or ``clip_sha``."""
    extractors: Mapping[str, ExtractorDiff]
    """Only those in which something differs."""


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
            time=one.written_at.strftime("%Y-%m-%dT%H:%M:%SZ"),
            run=str(one.metadata.get("run", "")),
            summary=one.message,
            tags=tuple(name for name, snapshot in names.items() if snapshot == one.id),
        )
        for one in _published(repository.ancestry(branch="main"))
    )


def diff(url: str, before: str, after: str) -> Diff:
    """What differs between two states, each a branch, a tag or a snapshot id.

    Raises:
        UsageError: there is no store, or no such state.
    """
    old, new = open_store(url, before), open_store(url, after)
    was, now = _active(old), _active(new)
    changed = _changed(old, new, {one: (was[one], now[one]) for one in now if one in was})
    names = dict.fromkeys((*old.extractors, *new.extractors))
    extractors = {name: _extractor_diff(old, new, name) for name in names}
    return Diff(
        before=old.id,
        after=new.id,
        added=tuple(name for name in now if name not in was),
        removed=tuple(name for name in was if name not in now),
        changed=changed,
        extractors={name: one for name, one in extractors.items() if one},
    )


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
    if name == "main" or name.startswith(BRANCH_PREFIX):
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

    Gives the snapshot id that is current now, and the tag of the one that was.

    Raises:
        UsageError: there is no such state, it was never published, it is the current one, or a
            run is writing.
        RunError: a run published in the meantime.
    """
    with location.locked(url) as (repository, lock):
        current, wanted = repository.lookup_branch("main"), resolve(repository, url, ref)
        if wanted == current:
            raise UsageError(f"store {url}: {ref} is the current state already")
        if wanted not in _reachable(repository):
            raise UsageError(
                f"store {url}: {ref} was never published; `meldflow log` lists what was"
            )
        rescued = f"{RESCUED}{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}-{current[:6]}"
        repository.create_tag(rescued, current)
        lock.check()
        # A dead run's work may be what is rolled back; nobody shall go on with it.
        for branch in run_branches(repository):
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


def _reachable(repository: icechunk.Repository) -> set[str]:
    """Published states on main, and those that rollbacks left behind."""
    histories = [repository.ancestry(branch="main")]
    histories += [repository.ancestry(tag=name) for name in repository.list_tags()]
    return {one.id for history in histories for one in _published(history)}


def _active(snapshot: Snapshot) -> dict[str, int]:
    """Id of every active utterance → its row."""
    if snapshot.is_empty:
        return {}
    return {snapshot.ids[row]: row for row in snapshot.rows().tolist()}


def _changed(
    old: Snapshot, new: Snapshot, rows: Mapping[str, tuple[int, int]]
) -> dict[str, tuple[str, ...]]:
    """Utterance → the columns in which its two rows differ; only those that do."""
    if not rows:
        return {}
    was, now = np.array(list(rows.values())).T
    found: dict[str, tuple[str, ...]] = {}
    names = np.array(list(rows), dtype=object)
    for column in COMPARED:
        unlike = differs(old.utterances[column][was], new.utterances[column][now])
        for name in names[unlike].tolist():
            found[name] = (*found.get(name, ()), column)
    return found


def _extractor_diff(old: Snapshot, new: Snapshot, name: str) -> ExtractorDiff:
    before, after = _results(old, name), _results(new, name)
    return ExtractorDiff(
        key_before=_key(old, name),
        key_after=_key(new, name),
        added=tuple(one for one in after if one not in before),
        changed=tuple(one for one in after if before.get(one, after[one]) != after[one]),
        removed=tuple(one for one in before if one not in after),
    )


def _key(snapshot: Snapshot, extractor: str) -> str:
    return str(snapshot.attributes(extractor)["key"]) if extractor in snapshot.extractors else ""


def _results(snapshot: Snapshot, extractor: str) -> dict[str, tuple[object, ...]]:
    """Id of every active utterance with a result → what tells that result from another."""
    if extractor not in snapshot.extractors:
        return {}
    state, rows = snapshot.state(extractor), snapshot.rows()
    rows = rows[np.asarray(state["status"][rows] != NEVER)]
    status, key, run = (state[name][rows].tolist() for name in ("status", "key", "run"))
    sources = (one.tobytes() for one in state["source_sha"][rows])
    # By their names: after a rollback, two histories count different runs with one number.
    made = ((snapshot.runs[number].id, snapshot.runs[number].started) for number in run)
    ids = (snapshot.ids[row] for row in rows.tolist())
    return dict(zip(ids, zip(status, key, sources, made, strict=True), strict=True))
