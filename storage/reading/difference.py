"""What differs between two states of a store."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from meldflow.storage.format.catalogue import COMPARED, differs
from meldflow.storage.format.layout import NEVER
from meldflow.storage.reading.snapshot import Snapshot, open_store


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
        unlike = differs(old.utterances.at(column, was), new.utterances.at(column, now))
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
