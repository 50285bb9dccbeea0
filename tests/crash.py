"""Kills a writer at random moments and looks what is left: ``python -m tests.crash --kills 200``.

A writer publishes a first pass and then re-extractions, and logs what it published and committed
(``tests.storage.writer``). It is killed with SIGKILL, the store is checked against the log and
against the truth (``tests.storage.checker``), and the next writer goes on with what is left.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.storage.checker import Checker
from tests.storage.kinds import PLACES, s3_server
from tests.storage.sidefile import PHASES, Event, SideFile
from tests.storage.victim import Bench, Moment, open_bench
from tests.storage.writer import Order

SERVERS: dict[str, Callable[[], AbstractContextManager[object]]] = {
    "folder": nullcontext,
    "s3": s3_server,
}
"""Place → what has to run for its stores, as in ``tests.storage.kinds``."""

LAST_STATE = 2
"""The first pass and two more; then a new store is begun, so that its creation is hit as well."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of the kills."""

    kills: int = 0
    torn_rows: int = 0
    lost_rows: int = 0
    seconds: float = 0.0
    phases: Counter[str] = field(default_factory=Counter)
    """What the writer was doing when it was killed → kills."""

    @property
    def exit_code(self) -> int:
        """1 if anything was torn or lost."""
        return int(self.torn_rows > 0 or self.lost_rows > 0)

    def to_json(self) -> str:
        """The figures on one line."""
        figures = ("kills", "torn_rows", "lost_rows", "seconds")
        return json.dumps({name: getattr(self, name) for name in figures})

    def __str__(self) -> str:
        phases = ", ".join(f"{name} {self.phases[name]}" for name in ("start", *PHASES))
        return (
            f"{self.kills} kills in {self.seconds:.0f} s: {self.torn_rows} torn rows, "
            f"{self.lost_rows} lost rows (killed during: {phases})"
        )


class Moments:
    """Draws the moments of the kills from what an undisturbed run took."""

    def __init__(self, events: Sequence[Event], chance: random.Random) -> None:
        steps = list(itertools.pairwise(events))
        self._whole = events[-1].at - events[0].at
        self._phases = {one.kind: then.at - one.at for one, then in steps if one.kind in PHASES}
        self._chance = chance

    def draw(self, *, creating: bool) -> Moment:
        """Anywhere within a run, or within one of its phases, so that short ones are hit too."""
        if self._chance.random() < 0.5:
            return Moment(delay=self._chance.uniform(0, self._whole))
        phase = "create" if creating else self._chance.choice(PHASES[1:])
        return Moment(after=phase, delay=self._chance.uniform(0, self._phases.get(phase, 0.1)))


class Trial:
    """One store, from its creation to its last state."""

    def __init__(self, url: str, side_file: Path, seed: int, *, careless: bool) -> None:
        self._log = SideFile(side_file)
        self._checker = Checker(url, seed)
        self._order = Order(
            url=url, side_file=str(side_file), seed=seed, last=LAST_STATE, careless=careless
        )

    def first_pass(self, bench: Bench) -> list[Event]:
        """Runs the first pass undisturbed; gives what it logged."""
        bench.run(replace(self._order, last=0))
        return self._log.read()

    def kill(self, bench: Bench, moment: Moment | None, outcome: Outcome) -> bool:
        """Runs a writer, kills it at the moment, judges; gives whether to go on."""
        before = len(self._log.read())
        killed = bench.run(self._order, moment)
        events = self._log.read()
        damage = self._checker.judge(events)
        outcome.torn_rows += len(damage.torn)
        outcome.lost_rows += len(damage.lost)
        if killed:
            outcome.kills += 1
            doing = [event.kind for event in events[before:] if event.kind in PHASES]
            outcome.phases[doing[-1] if doing else "start"] += 1
        return killed and not damage


def crash(
    place: str,
    folder: Path,
    *,
    kills: int,
    seed: int,
    careless: bool = False,
    say: Callable[[Outcome], None] = lambda outcome: None,
) -> Outcome:
    """Kills writers of stores, and judges after each kill.

    Args:
        place: where the stores lie, one of ``PLACES``.
        folder: for the logs, and for stores in folders.
        kills: how many.
        seed: of the moments, and of what is written.
        careless: whether the writers have a defect that has to be found.
        say: told after each kill.
    """
    outcome, started = Outcome(), time.monotonic()
    with SERVERS[place](), open_bench() as bench:
        stores = _trials(place, folder, seed, careless=careless)
        trial, goes_on, creating = next(stores), True, False
        moments = Moments(trial.first_pass(bench), random.Random(seed))
        while outcome.kills < kills:
            goes_on = trial.kill(bench, moments.draw(creating=creating), outcome)
            outcome.seconds = round(time.monotonic() - started, 1)
            say(outcome)
            trial, creating = (trial, False) if goes_on else (next(stores), True)
        if goes_on:
            trial.kill(bench, None, outcome)  # the last one resumes as well, and ends
    outcome.seconds = round(time.monotonic() - started, 1)
    return outcome


def _trials(place: str, folder: Path, seed: int, *, careless: bool) -> Iterator[Trial]:
    for number in itertools.count(seed):
        base = folder / str(number)
        base.mkdir()
        yield Trial(PLACES[place](base), base / "log", number, careless=careless)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if anything was torn or lost."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description="see the docstring")
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--place", choices=sorted(PLACES), default="folder")
    parser.add_argument(
        "--json", action="store_true", help="print the figures as JSON, no progress"
    )
    parser.add_argument("--careless", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        outcome = crash(
            options.place,
            Path(folder),
            kills=options.kills,
            seed=options.seed,
            careless=options.careless,
            say=_say_nothing if options.json else _say_progress,
        )
    print(outcome.to_json() if options.json else outcome)
    return outcome.exit_code


def _say_nothing(outcome: Outcome) -> None:
    """For ``--json``."""


def _say_progress(outcome: Outcome) -> None:
    if outcome.kills % 10 == 0:
        print(outcome, flush=True)


if __name__ == "__main__":
    sys.exit(main())
