"""Disturbs runs at random moments and looks what is left: ``python -m tests.chaos --minutes 5``.

A Prefect server, a Dask cluster and an S3 server run as processes of their own; extractions follow
each other, into folders and buckets. Every few seconds something is killed, restarted or cut off
for up to a minute. Only a run that was killed itself may have to be started again. In the end its
store has to hold, row for row, what an undisturbed one holds.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

from tests import fragile, rig
from tests.proxy import Outage
from tests.rig import Extract, Rig
from tests.storage.kinds import PLACES

PARTITION = 12
BATCH = 4
UTTERANCES = (300, 700)
"""From so many to so many per data set: 10 to 20 s of work for two undisturbed workers."""
MILLISECONDS = 40
MARKS = ("SIGKILL", "SIGSEGV", "SIGABRT", "HANG", "GREEDY", "ROOMY", "BROKEN")
PAUSE = (2.0, 12.0)
"""Seconds between two faults."""
AWAY = (3.0, 60.0)
"""Seconds that a network is away."""
RUNS = 30
"""Runs that a store may need, killed ones included."""
RUN_SECONDS = 600.0
"""A run that takes longer, without new faults in the second half, counts as one that hangs."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What came of the faults."""

    seed: int
    faults: Counter[str] = field(default_factory=Counter)
    """Kind → how many."""
    stores: int = 0
    runs: int = 0
    rows: int = 0
    """Rows compared: of the catalogue, and of every extractor."""
    differences: int = 0
    stopped: list[str] = field(default_factory=list)
    """Messages of runs that ended early, although nobody had killed them; started again."""
    turned_away: int = 0
    """Commands whose Prefect server was away as they began: they say so, and begin no run."""
    unexplained: list[str] = field(default_factory=list)
    """What runs showed that ended in another way."""
    seconds: float = 0.0

    @property
    def exit_code(self) -> int:
        """1 if a row differs, or a run ended that nobody had killed."""
        return int(self.differences > 0 or bool(self.unexplained or self.stopped))

    def to_json(self) -> str:
        """The figures on one line."""
        return json.dumps(
            {
                "faults": self.faults.total(),
                "rows": self.rows,
                "differences": self.differences,
                "stores": self.stores,
                "runs": self.runs,
                "stopped": self.stopped,
                "unexplained": self.unexplained,
                "turned_away": self.turned_away,
                "by_kind": dict(self.faults.most_common()),
                "seed": self.seed,
                "seconds": round(self.seconds, 1),
            }
        )

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {number}" for kind, number in self.faults.most_common())
        return (
            f"{self.faults.total()} faults ({kinds}) in {self.seconds:.0f} s, {self.runs} runs "
            f"into {self.stores} stores: {self.differences} of {self.rows} rows differ, "
            f"{len(self.stopped)} runs stopped with a message, {len(self.unexplained)} without; "
            f"seed {self.seed}"
        )


class Chaos:
    """Faults from a seed, upon the runs of one installation."""

    def __init__(self, installation: Rig, seed: int, say: Callable[[str], None]) -> None:
        self._rig = installation
        self._random = random.Random(seed)
        self._say = say
        self._back: dict[str, float] = {}
        self._began = time.monotonic()
        self.outcome = Outcome(seed=seed)

    def go_on(self, seconds: float) -> Outcome:
        """One store after the other until the time is over; the last run ends undisturbed."""
        until = self._began + seconds
        places = itertools.cycle(self._random.sample(sorted(PLACES), len(PLACES)))
        while time.monotonic() < until:
            self._fill_store(next(places), until)
        self.outcome.seconds = time.monotonic() - self._began
        return self.outcome

    def _fill_store(self, place: str, until: float) -> None:
        folder = self._rig.folder / f"store-{self.outcome.stores}"
        folder.mkdir()
        dataset, store = (
            rig.write_dataset(folder / "data.csv", self._texts()),
            PLACES[place](folder),
        )
        truth = rig.undisturbed(dataset, folder / "truth", partition=PARTITION)
        self._say(f"{len(truth)} rows into {store}")
        for _ in range(RUNS):
            if self._finish(dataset, store, until):
                break
        found = rig.differences(store, truth)
        self.outcome.stores += 1
        self.outcome.rows += len(truth)
        self.outcome.differences += found
        self._say(f"{found} of {len(truth)} rows differ")

    def _texts(self) -> list[str]:
        """Mostly harmless."""
        number = self._random.randint(*UTTERANCES)
        marked = {self._random.randrange(number): mark for mark in MARKS}
        return rig.texts(number, milliseconds=MILLISECONDS, marked=marked)

    def _finish(self, dataset: Path, store: str, until: float) -> bool:
        """One run, disturbed; gives whether it came to its end."""
        limit = ("--clip-timeout", str(fragile.CLIP_SECONDS))
        sizes = ("--partition", str(PARTITION), "--batch", str(BATCH))
        self._rig.wait_for_prefect()
        run = self._rig.run(dataset, store, *sizes, *limit)
        self.outcome.runs += 1
        killed = self._disturb(run, store, min(until, time.monotonic() + RUN_SECONDS / 2))
        self._heal(everything=True)
        if killed:
            return False
        code = run.process.poll()
        self._say(f"run {self.outcome.runs} ended with {code}")
        if code == 0:
            return True
        message = run.message if code in (1, 2) else ""
        if message.startswith("meldflow: prefect server") and code == 2:
            self.outcome.turned_away += 1
            return False
        (self.outcome.stopped if message else self.outcome.unexplained).append(
            message or run.shown()
        )
        self._say(message or run.shown())
        return False

    def _disturb(self, run: Extract, store: str, until: float) -> bool:
        """One fault after the other as long as the run lasts; gives whether it was killed."""
        faults = dict(FAULTS)
        if store.startswith("s3://"):
            faults["store away"] = _store_away
        end, due = time.monotonic() + RUN_SECONDS, time.monotonic() + self._pause()
        while run.running:
            now = time.monotonic()
            self._heal()
            if now > end:
                self._say("it hangs")
                run.kill()
                return False
            if due < now < until:
                kind = self._random.choice(sorted(faults))
                self.outcome.faults[kind] += 1
                self._say(kind)
                faults[kind](self, run)
                due = time.monotonic() + self._pause()
                if kind == "flow killed":
                    return True
            time.sleep(0.1)
        return False

    def _pause(self) -> float:
        return self._random.uniform(*PAUSE)

    def _heal(self, *, everything: bool = False) -> None:
        """Gives networks back that were away for long enough."""
        for name, when in list(self._back.items()):
            if everything or time.monotonic() > when:
                self._rig.network[name].give_back()
                del self._back[name]

    def worker_killed(self, run: Extract) -> None:
        """SIGKILL for a worker; its nanny starts another."""
        self._random.choice(self._rig.workers).kill_worker()

    def workers_gone(self, run: Extract) -> None:
        """SIGKILL for all workers and nannies; new ones join."""
        for worker in self._rig.workers:
            worker.kill()

    def scheduler_restarted(self, run: Extract) -> None:
        """With and without a good-bye; the workers go as well."""
        self._rig.scheduler.kill(self._random.choice([signal.SIGKILL, signal.SIGTERM]))

    def prefect_restarted(self, run: Extract) -> None:
        """SIGKILL for the server."""
        self._rig.prefect.kill()

    def flow_killed(self, run: Extract) -> None:
        """SIGKILL for the run's process."""
        run.kill()

    def away(self, name: str) -> None:
        """A network is gone for a while, longer than this fault lasts."""
        how = cast("Outage", self._random.choice(get_args(Outage)))
        seconds = self._random.uniform(*AWAY)
        self._say(f"… {how} for {seconds:.0f} s")
        if name not in self._back:
            self._rig.network[name].take_away(how)
            self._back[name] = time.monotonic() + seconds


def _store_away(chaos: Chaos, run: Extract) -> None:
    chaos.away("s3")


FAULTS: dict[str, Callable[[Chaos, Extract], None]] = {
    "worker killed": Chaos.worker_killed,
    "workers gone": Chaos.workers_gone,
    "scheduler restarted": Chaos.scheduler_restarted,
    "prefect restarted": Chaos.prefect_restarted,
    "prefect away": lambda chaos, run: chaos.away("prefect"),
    "flow killed": Chaos.flow_killed,
}
"""Kind → what is done; stores in a bucket can be away as well."""


def disturb(minutes: float, seed: int, say: Callable[[str], None]) -> Outcome:
    """Disturbs runs for so long, then lets the last one end."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        began = time.monotonic()
        with rig.open_rig(Path(folder)) as installation:
            say(f"installation up after {time.monotonic() - began:.0f} s; seed {seed}")
            return Chaos(installation, seed, say).go_on(60 * minutes)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 if anything differed, or ended before it was done."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="see the docstring")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1000))
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args(arguments)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", file=sys.stderr, flush=True)

    outcome = disturb(options.minutes, options.seed, say)
    print(outcome.to_json() if options.json else outcome)
    return outcome.exit_code


if __name__ == "__main__":
    sys.exit(main())
