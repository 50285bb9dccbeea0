"""Kills lose nothing and tear nothing; and a store in which something is torn is found out."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zarr

from meldflow.storage.places.location import open_repository
from meldflow.storage.writing.transaction import open_run
from tests import crash
from tests.paths import ROOT
from tests.storage.checker import Checker, Damage
from tests.storage.sidefile import PHASES, Event, SideFile
from tests.storage.states import PARTITION, state
from tests.storage.truth import Row, true_rows
from tests.storage.writer import Order, write, write_parts

SEED = 5
FIRST = "train/dia0_utt0"


@pytest.mark.parametrize("place", ["folder", pytest.param("s3", marks=pytest.mark.slow)])
def test_a_few_kills_tear_nothing_and_lose_nothing(place: str, tmp_path: Path) -> None:
    outcome = crash.crash(place, tmp_path, kills=5, seed=SEED)
    assert (outcome.kills, outcome.torn_rows, outcome.lost_rows) == (5, 0, 0)


@pytest.mark.slow
def test_two_hundred_kills_in_every_phase_tear_nothing_and_lose_nothing(
    tmp_path: Path,
) -> None:
    outcome = crash.crash("folder", tmp_path, kills=200, seed=SEED)
    assert (outcome.kills, outcome.torn_rows, outcome.lost_rows) == (200, 0, 0)
    assert outcome.phases.keys() >= set(PHASES)


@pytest.mark.slow
def test_a_careless_writer_is_found_out_by_the_command() -> None:
    command = ["-m", "tests.crash", "--kills", "12", "--careless", "--json"]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", *command], cwd=ROOT, capture_output=True, check=False
    )
    assert done.returncode == 1, done.stderr
    outcome = json.loads(done.stdout)
    assert sorted(outcome) == ["kills", "lost_rows", "seconds", "torn_rows"]
    assert (outcome["kills"], outcome["lost_rows"]) == (12, 0)
    assert outcome["torn_rows"] > 0


class Store:
    """A store with two published states, its log, and ways to damage it."""

    def __init__(self, folder: Path) -> None:
        self.url = str(folder / "s")
        self.log = SideFile(folder / "log")
        self.order = Order(url=self.url, side_file=str(folder / "log"), seed=SEED, last=1)

    def write(self) -> None:
        write(self.order)

    def judge(self) -> Damage:
        return Checker(self.url, SEED).judge(self.log.read())

    def tamper(self, change: Callable[[zarr.Group], None]) -> None:
        """Changes ``main`` and claims that this is what was published."""
        session = open_repository(self.url).writable_session("main")
        change(zarr.open_group(session.store, mode="r+"))
        tip = session.commit("tampered")
        self.log.add(Event(kind="publishing", state=1, snapshot=tip))

    def interrupted(self) -> Event:
        """Commits part of the next state; gives what was committed."""
        one = state(SEED, 2)
        with open_run(self.url, one.specs, partition=PARTITION) as run:
            run.sync(one.utterances)
            parts = run.plan().partitions
            write_parts(run, one, parts[:2], self.log)
        return self.log.read()[-1]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("published")
    Store(folder).write()
    return folder


@pytest.fixture
def store(published: Path, tmp_path: Path) -> Store:
    shutil.copytree(published, tmp_path, dirs_exist_ok=True)
    return Store(tmp_path)


def test_an_undamaged_store_is_found_whole(store: Store) -> None:
    assert not store.judge()
    store.interrupted()
    assert not store.judge()


def _set(group: str, array: str, value: Any) -> Callable[[zarr.Group], None]:
    def change(root: zarr.Group) -> None:
        root[f"{group}/{array}"][0] = value  # type: ignore[index]

    return change


TAMPERINGS: dict[str, tuple[Row, Callable[[zarr.Group], None]]] = {
    "a value": (("text/words", FIRST), _set("text/words", "embedding", 0.5)),
    "a frame": (("audio/voice", FIRST), _set("audio/voice", "frames", 0.5)),
    "the number of frames": (("audio/voice", FIRST), _set("audio/voice", "frames_row_size", 3)),
    "the state": (("text/words", FIRST), _set("text/words", "status", 2)),
    "the key": (("text/words", FIRST), _set("text/words", "key", "text/words@9")),
    "the checksum": (("text/words", FIRST), _set("text/words", "source_sha", 7)),
    "the catalogue": (("catalogue", FIRST), _set("utterances", "emotion", "rage")),
}
"""What is changed → the one row that has to be called torn, and what changes it."""


@pytest.mark.parametrize("what", TAMPERINGS)
def test_a_torn_row_is_named(store: Store, what: str) -> None:
    row, change = TAMPERINGS[what]
    store.tamper(change)
    assert store.judge() == Damage(torn={row})


def test_rows_that_nobody_published_are_torn(store: Store) -> None:
    one = state(SEED, 2)
    committed = store.interrupted()
    open_repository(store.url).reset_branch("main", committed.snapshot)
    assert {row for row in store.judge().torn if row[0] == "catalogue"} == {
        ("catalogue", each.id) for each in one.utterances
    }


def test_a_row_that_left_main_is_lost(store: Store) -> None:
    store.tamper(_set("utterances", "active", 0))
    lost = {(group, FIRST) for group in ("catalogue", "audio/voice", "text/words")}
    assert store.judge() == Damage(lost=lost)


def test_everything_is_lost_when_main_goes_back(store: Store) -> None:
    before = next(e.snapshot for e in store.log.read() if e.kind == "published")
    open_repository(store.url).reset_branch("main", before)
    damage = store.judge()
    assert damage.lost >= state_rows(1)
    assert not damage.torn


def test_everything_is_lost_when_the_store_is_gone(store: Store) -> None:
    shutil.rmtree(store.url)
    assert store.judge() == Damage(lost=state_rows(0) | state_rows(1))


def test_everything_is_torn_when_main_cannot_be_read(store: Store) -> None:
    for chunk in Path(store.url, "chunks").iterdir():
        chunk.unlink()
    assert store.judge().torn == state_rows(1)


def test_committed_rows_are_lost_with_their_branch(store: Store) -> None:
    committed = store.interrupted()
    open_repository(store.url).delete_branch(committed.branch)
    assert store.judge() == Damage(lost=rows_of(committed))


def test_committed_rows_are_lost_when_the_branch_goes_back(store: Store) -> None:
    committed = store.interrupted()
    repository = open_repository(store.url)
    repository.reset_branch(committed.branch, repository.lookup_branch("main"))
    assert store.judge() == Damage(lost=rows_of(committed))


def test_committed_rows_that_are_planned_again_are_lost(store: Store) -> None:
    committed = store.interrupted()
    store.log.add(replace(committed, kind="planned"))
    assert store.judge() == Damage(lost=rows_of(committed))


def state_rows(number: int) -> set[Row]:
    one = state(SEED, number)
    return set(true_rows(one.utterances, one.specs))


def rows_of(event: Event) -> set[Row]:
    return {(extractor, one) for extractor, ids in event.rows.items() for one in ids}
