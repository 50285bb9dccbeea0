"""A store that is away for a while costs time and nothing else; so does an answer that is lost."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import icechunk
import pytest

from meldflow.models.schema.errors import RunError
from meldflow.storage import open_store
from meldflow.storage.places import patience
from meldflow.storage.places.patience import patiently
from meldflow.storage.writing.transaction import Run, open_run
from tests.proxy import Proxy
from tests.storage import kinds as places
from tests.storage.corpus import SPECS, corpus, do_partition

AWAY = 3.0
"""Seconds."""


def tire(run: Run, network: Proxy) -> None:
    """Fails so often that Icechunk tries nothing again by itself from here on."""

    def fail(_: int) -> None:
        with contextlib.suppress(icechunk.IcechunkError):
            run._repository.lookup_branch("main")

    with network.down("refused"), ThreadPoolExecutor(16) as threads:
        list(threads.map(fail, range(16)))


def do_all(run: Run) -> None:
    for part in run.plan().partitions:
        run.merge(do_partition(run, part, corpus(8), SPECS))


STEPS: dict[str, Callable[[Run], object]] = {
    "sync": lambda run: run.sync(corpus(8)),
    "write": do_all,
    "commit": Run.commit,
    "publish": Run.publish,
}


@pytest.mark.slow
def test_a_store_that_is_away_at_any_moment(network: Proxy) -> None:
    url = places.bucket(Path())
    with open_run(url, SPECS, partition=4) as run:
        tire(run, network)
        for step in STEPS.values():
            network.take_away("refused")
            threading.Timer(AWAY, network.give_back).start()
            began = time.monotonic()
            step(run)
            assert time.monotonic() - began > AWAY
    assert open_store(url).features("audio/voice", "mean")[1].tolist() == [True] * 8


@pytest.mark.parametrize(("moment", "branch"), [("commit", "run-"), ("publish", "main/")])
def test_the_answer_to_a_commit_is_lost(network: Proxy, moment: str, branch: str) -> None:
    url = places.bucket(Path())
    with open_run(url, SPECS, partition=4) as run:
        run.sync(corpus(8))
        do_all(run)
        network.lose = re.compile(rf"PUT \S+/refs/branch\.{branch}".encode())
        STEPS[moment](run)
        assert network.lost == 1
        if moment == "commit":
            run.publish()
    assert len(open_store(url).rows()) == 8
    assert [one for one in places.names() if "branch.run" in one and url[5:] in one] == []


@pytest.mark.slow
def test_a_store_that_stays_away_ends_the_run_in_a_line(
    network: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 0.5)
    stopped = pytest.raises(RunError, match=r"the run stopped; .*nobody answers")
    with stopped, open_run(places.bucket(Path()), SPECS, partition=4) as run:
        run.sync(corpus(8))
        tire(run, network)
        network.take_away("refused")
        run.fork()
    network.give_back()


@pytest.mark.parametrize(
    "said",
    [
        "dispatch failure",
        # An answer that breaks off in the midst.
        "error streaming bytes from object store streaming error",
    ],
)
def test_what_waiting_does_not_help_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setattr(patience, "BETWEEN_TRIES", 0.1)
    tries: list[int] = []

    def action() -> None:
        tries.append(1)
        raise icechunk.IcechunkError(said if len(tries) < 3 else "access denied")

    with pytest.raises(icechunk.IcechunkError, match="access denied"):
        patiently(action)
    assert len(tries) == 3
