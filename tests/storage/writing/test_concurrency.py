"""Many processes at one store: the lock lets one write, and readers see whole runs only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import pytest

from meldflow.storage import open_store
from meldflow.storage.places.location import open_repository
from tests.storage.attempt import Answer, Attempt, Wish, fingerprint
from tests.storage.states import state
from tests.storage.truth import Digests, stored_rows, true_rows

SEED = 11
ACTIONS = ("extract", "plan", "read", "extract", "collect", "extract", "read", "extract")
"""What eight processes do; of fewer, the first of these."""

PATIENCE = 240.0
"""Seconds to try again for while the store is busy."""


@pytest.fixture(params=[5, pytest.param(16, marks=pytest.mark.slow)])
def processes(request: pytest.FixtureRequest) -> Iterator[list[Attempt]]:
    started = [Attempt() for _ in range(request.param)]
    yield started
    for one in started:
        one.stop()


def truth(number: int) -> Digests:
    one = state(SEED, number)
    return true_rows(one.utterances, one.specs)


def answers(processes: list[Attempt], actions: Sequence[str], store: Path) -> list[Answer]:
    """Lets all begin at once, each with a data set of its own; readers end last."""
    for one in processes:
        one.wait()
    end = store.with_name("end")
    for number, (one, action) in enumerate(zip(processes, actions, strict=True)):
        wish = Wish(action=action, url=str(store), seed=SEED, state=number, patience=PATIENCE)
        one.begin(replace(wish, until=str(end)))
    found = {
        one.pid: one.end()
        for one, action in zip(processes, actions, strict=True)
        if action != "read"
    }
    end.touch()
    return [found.get(one.pid) or one.end() for one in processes]


def test_nothing_is_lost_and_everyone_is_told_why(processes: list[Attempt], tmp_path: Path) -> None:
    url = str(tmp_path / "s")
    actions = list(islice(cycle(ACTIONS), len(processes)))
    found = answers(processes, actions, tmp_path / "s")
    done = Counter(action for action, one in zip(actions, found, strict=True) if one.done)
    assert done == Counter(actions), [one.failure for one in found if not one.done]

    published = {one.snapshot: number for number, one in enumerate(found) if one.snapshot}
    assert len(published) == done["extract"]
    history = {one.id for one in open_repository(url).ancestry(branch="main")}
    assert history >= published.keys()
    for snapshot, number in published.items():
        assert stored_rows(open_store(url, snapshot)) == truth(number)

    refusals = [refusal for one in found for refusal in one.refusals]
    pids = {one.pid for one in processes}
    named = [
        re.search(r"another run is writing to it \(process (\d+) on", each) for each in refusals
    ]
    assert refusals
    assert all(each and int(each[1]) in pids for each in named), refusals

    whole = {fingerprint({}), *(fingerprint(truth(number)) for number in published.values())}
    seen = [each for one in found for each in one.seen]
    assert set(seen) <= whole
    assert fingerprint(stored_rows(open_store(url))) in seen
    assert len(set(seen)) > 1  # they looked while runs were published
