"""One thing that a process does to a store, and how it ended.

Run as ``python -m tests.storage.attempt``: it says ``ready`` when everything is imported, waits
for one line of JSON, and answers with another. The tests of faults and of concurrency start it.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from meldflow.models.schema.errors import MeldflowError
from meldflow.storage import open_store
from meldflow.storage.history import maintain_store
from meldflow.storage.places.location import exists
from meldflow.storage.writing.transaction import open_run
from tests.paths import ROOT
from tests.storage.corpus import extract_all
from tests.storage.states import PARTITION, state
from tests.storage.truth import Digests, stored_rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What to do, again and again while the store is busy."""

    action: str
    """One of ``ACTIONS``."""
    url: str
    seed: int
    state: int
    """The data set and the extractors wanted of it."""
    patience: float = 0.0
    """Seconds to try again for."""
    until: str = ""
    """A reader reads until this file is there."""
    file_size: int | None = None
    """No file may grow beyond so many bytes."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """How it ended."""

    done: bool = False
    snapshot: str = ""
    """Published."""
    stale: int = 0
    """Rows planned."""
    failure: str = ""
    """Kind and message of the last error of ours."""
    refusals: list[str] = field(default_factory=list)
    """What was said every time that the store was busy."""
    seen: list[str] = field(default_factory=list)
    """The rows that a reader saw each time, as ``fingerprint`` gives them."""


def extract(wish: Wish, answer: Answer) -> None:
    """A whole run."""
    one = state(wish.seed, wish.state)
    with open_run(wish.url, one.specs, partition=PARTITION) as run:
        extract_all(run, one.utterances, one.specs)
        answer.snapshot = run.publish()


def plan(wish: Wish, answer: Answer) -> None:
    """A run that only looks what there is to do."""
    one = state(wish.seed, wish.state)
    with open_run(wish.url, one.specs, partition=PARTITION) as run:
        run.sync(one.utterances)
        answer.stale = sum(run.plan().stale().values())


def read(wish: Wish, answer: Answer) -> None:
    """Reads all that is visible, again and again, and once more when it is told to end."""
    told = False
    while not told:
        told = Path(wish.until).exists()
        if exists(wish.url):
            answer.seen.append(fingerprint(stored_rows(open_store(wish.url))))


def collect(wish: Wish, answer: Answer) -> None:
    """Frees what nothing has needed for a day, once there is a store."""
    while not exists(wish.url):
        time.sleep(0.02)
    maintain_store(wish.url, older_than_days=1)


ACTIONS: Mapping[str, Callable[[Wish, Answer], None]] = {
    "extract": extract,
    "plan": plan,
    "read": read,
    "collect": collect,
}


def fingerprint(rows: Digests) -> str:
    """One line that stands for all rows."""
    return hashlib.sha256(repr(sorted(rows.items())).encode()).hexdigest()


def attempt(wish: Wish) -> Answer:
    """Does it; every error of ours is an answer, any other is a defect and is raised."""
    answer, until = Answer(), time.monotonic() + wish.patience
    if wish.file_size is not None:
        _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (wish.file_size, hard))
    while not answer.done:
        try:
            ACTIONS[wish.action](wish, answer)
            answer.done = True
        except MeldflowError as error:
            answer.failure = f"{type(error).__name__}: {error}"
            if "another run" not in answer.failure:
                return answer
            answer.refusals.append(answer.failure)
            if time.monotonic() > until:
                return answer
            time.sleep(0.02)
    return answer


class Attempt:
    """A process that has imported everything and waits for a wish."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-X", "faulthandler", "-m", "tests.storage.attempt"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def wait(self) -> None:
        """Until it is ready."""
        assert self._process.stdout is not None
        self._process.stdout.readline()

    def begin(self, wish: Wish) -> None:
        """Tells it what to do."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(wish)) + "\n")
        self._process.stdin.flush()

    def end(self) -> Answer:
        """Waits for the answer.

        Raises:
            RuntimeError: it ended otherwise.
        """
        said, errors = self._process.communicate()
        if self._process.returncode != 0:
            raise RuntimeError(f"it ended with {self._process.returncode}: {errors}")
        return Answer(**json.loads(said.splitlines()[-1]))

    def stop(self) -> None:
        """Ends it, whatever it does."""
        self._process.kill()
        self._process.communicate()


def in_a_process(wish: Wish) -> Answer:
    """Fulfils one wish in a process of its own."""
    one = Attempt()
    try:
        one.wait()
        one.begin(wish)
        return one.end()
    finally:
        one.stop()


if __name__ == "__main__":
    print("ready", flush=True)
    print(json.dumps(asdict(attempt(Wish(**json.loads(sys.stdin.readline()))))), flush=True)
