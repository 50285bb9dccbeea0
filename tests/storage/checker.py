"""Whether a store holds what its writer said: nothing torn, nothing lost.

A visible row is **torn** when it is not exactly that of the published state which ``main``
shows. It is **lost** when it was published, or committed on the run's branch, and is gone,
changed or about to be extracted again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import icechunk

from meldflow.models.schema.errors import MeldflowError
from meldflow.storage import open_store
from meldflow.storage.places.location import exists, open_repository
from meldflow.storage.reading.snapshot import Snapshot
from tests.storage.sidefile import Event
from tests.storage.states import State, state
from tests.storage.truth import Digests, Row, stored_rows, true_rows
from tests.storage.writer import shown_state


@dataclass(slots=True, kw_only=True)
class Damage:
    """Rows that are not what they have to be."""

    torn: set[Row] = field(default_factory=set)
    lost: set[Row] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.torn or self.lost)


class Checker:
    """Judges one store by the log of its writers, kill after kill."""

    def __init__(self, url: str, seed: int) -> None:
        self._url = url
        self._seed = seed
        self._proven: set[str] = set()

    def judge(self, events: Sequence[Event]) -> Damage:
        """What is torn or lost in the store as it lies there now."""
        found = Damage()
        published = {event.snapshot: event.state for event in events if event.kind == "published"}
        if not exists(self._url):
            found.lost |= self._rows_of(published.values())
            return found
        shown = self._judge_main(events, found)
        found.lost |= self._rows_of(n for n in published.values() if n > shown)
        self._judge_history(published, found)
        done = max([shown, *published.values()])
        self._judge_branch([event for event in events if event.state > done], found)
        return found

    def _judge_main(self, events: Sequence[Event], found: Damage) -> int:
        """The number of the state that ``main`` shows; -1 where it shows nothing."""
        known = {event.snapshot: event.state for event in events if event.kind == "publishing"}
        main = open_store(self._url)
        rows = _readable(main)
        if rows is None:
            found.torn |= self._rows_of([max(known.values(), default=0)])
            return -1
        if not rows:
            return -1
        shown = shown_state(self._url, events)
        if shown is None:  # a state that was never meant to be seen
            found.torn |= set(rows)
            return max(known.values(), default=-1)
        truth = _truth(self._state(shown))
        found.torn |= {row for row, digest in rows.items() if truth.get(row) != digest}
        found.lost |= truth.keys() - rows.keys()
        return shown

    def _judge_history(self, published: dict[str, int], found: Damage) -> None:
        """Every snapshot once published is there and as it was; each is read once."""
        repository = open_repository(self._url)
        history = {one.id for one in repository.ancestry(branch="main")}
        for snapshot, number in published.items():
            truth = _truth(self._state(number))
            if snapshot not in history:
                found.lost |= truth.keys()
            elif snapshot not in self._proven:
                found.lost |= _differing(truth, _readable(open_store(self._url, snapshot)))
                self._proven.add(snapshot)

    def _judge_branch(self, events: Sequence[Event], found: Damage) -> None:
        """Every row committed for a state that is not yet published is on the run's branch."""
        done: set[Row] = set()
        for event in events:
            rows = {(extractor, one) for extractor, ids in event.rows.items() for one in ids}
            if event.kind == "planned":
                found.lost |= done & rows
            if event.kind == "committed":
                done |= rows
        committed = [event for event in events if event.kind == "committed"]
        if committed:
            truth = _truth(self._state(committed[-1].state))
            held = self._branch(committed[-1])
            found.lost |= _differing({row: truth[row] for row in done}, held)

    def _branch(self, last: Event) -> Digests | None:
        """What the run's branch holds; None where its last commit is not on it."""
        repository = open_repository(self._url)
        if last.branch not in repository.list_branches():
            return None
        if all(one.id != last.snapshot for one in repository.ancestry(branch=last.branch)):
            return None
        return _readable(open_store(self._url, last.branch))

    def _state(self, number: int) -> State:
        return state(self._seed, number)

    def _rows_of(self, numbers: Iterable[int]) -> set[Row]:
        return set().union(*(_truth(self._state(n)).keys() for n in numbers))


def _truth(one: State) -> Digests:
    return true_rows(one.utterances, one.specs)


def _readable(snapshot: Snapshot) -> Digests | None:
    """The snapshot's rows; None where something in it cannot be read."""
    try:
        return stored_rows(snapshot)
    except (MeldflowError, icechunk.IcechunkError, OSError, ValueError):
        return None


def _differing(truth: Digests, held: Digests | None) -> set[Row]:
    return {row for row, digest in truth.items() if held is None or held.get(row) != digest}
