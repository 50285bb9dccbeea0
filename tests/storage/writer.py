"""The writer that the crash test kills: publishes one state after the other, and logs it.

Run as ``python -m tests.storage.writer``. It says ``ready`` when everything is imported, then
waits for one line of JSON that tells what to write, and says the kind of every event of its log.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from meldflow.storage import open_store
from meldflow.storage.format.catalogue import ids
from meldflow.storage.places.location import exists, open_repository
from meldflow.storage.reading.plan import PartitionPlan
from meldflow.storage.writing.transaction import Run, open_run
from tests.storage.corpus import do_partition
from tests.storage.sidefile import Event, SideFile
from tests.storage.states import PARTITION, State, state

COMMIT_EVERY = 2
"""Partitions; fewer than the store's own limit, so that every commit is one of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a writer is told."""

    url: str
    side_file: str
    seed: int
    last: int
    """The last state to publish."""
    careless: bool = False
    """Whether ``main`` moves at every commit: a defect, to see that it is found."""


def write(order: Order, tell: Callable[[str], None] = lambda kind: None) -> None:
    """Publishes every state up to the last, from the one that ``main`` shows."""
    log = SideFile(Path(order.side_file), tell)
    for number in range(_next_state(order.url, log), order.last + 1):
        _write_state(order, state(order.seed, number), log)


def shown_state(url: str, events: Sequence[Event]) -> int | None:
    """The number of the state that ``main`` shows; None if it is none that was to be published.

    Publishing adds one commit to the last that the writer knows of, and may be killed after it.
    """
    known = {one.snapshot: one.state for one in events if one.kind in ("publishing", "published")}
    tip, *before = itertools.islice(open_repository(url).ancestry(branch="main"), 2)
    if tip.id in known or not before or not tip.metadata.get("published"):
        return known.get(tip.id)
    return known.get(before[0].id)


def _next_state(url: str, log: SideFile) -> int:
    if not exists(url) or open_store(url).is_empty:
        return 0
    shown = shown_state(url, log.read())
    if shown is None:
        raise RuntimeError("main shows what nobody published")
    return shown + 1


def _write_state(order: Order, one: State, log: SideFile) -> None:
    log.add(Event(kind="open" if exists(order.url) else "create", state=one.number))
    with open_run(order.url, one.specs, partition=PARTITION) as run:
        base = open_store(order.url).id
        log.add(Event(kind="sync", state=one.number))
        run.sync(one.utterances)
        if order.careless:
            _move_main(order.url, run.snapshot)
        parts = run.plan().partitions
        log.add(Event(kind="planned", state=one.number, branch=run.branch, rows=_named(run, parts)))
        for first in range(0, len(parts), COMMIT_EVERY):
            write_parts(run, one, parts[first : first + COMMIT_EVERY], log)
            if order.careless:
                _move_main(order.url, run.snapshot)
        log.add(Event(kind="publish", state=one.number))
        if order.careless:
            _move_main(order.url, base)
        log.add(Event(kind="publishing", state=one.number, snapshot=run.snapshot))
        shown = run.publish()
        log.add(Event(kind="published", state=one.number, snapshot=shown))


def write_parts(run: Run, one: State, parts: tuple[PartitionPlan, ...], log: SideFile) -> None:
    """Writes some partitions and commits them."""
    for part in parts:
        log.add(Event(kind="write", state=one.number))
        written = do_partition(run, part, one.utterances, one.specs)
        log.add(Event(kind="merge", state=one.number))
        run.merge(written)
    log.add(Event(kind="commit", state=one.number))
    run.commit()
    rows = _named(run, parts)
    done = Event(
        kind="committed", state=one.number, branch=run.branch, snapshot=run.snapshot, rows=rows
    )
    log.add(done)


def _named(run: Run, parts: tuple[PartitionPlan, ...]) -> dict[str, list[str]]:
    """Extractor → ids of the rows of ``parts``."""
    names = ids(run.utterances)
    rows: dict[str, list[str]] = {}
    for part in parts:
        for extractor, numbers in part.rows.items():
            rows.setdefault(extractor, []).extend(names[number] for number in numbers)
    return rows


def _move_main(url: str, snapshot: str) -> None:
    open_repository(url).reset_branch("main", snapshot)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _say("ready")
    write(Order(**json.loads(sys.stdin.readline())), _say)
