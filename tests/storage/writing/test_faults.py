"""Every fault of the place ends in one error of ours, ``main`` untouched; the next run ends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import icechunk
import pytest

from meldflow.models.schema.errors import MeldflowError, RunError
from meldflow.storage import open_store
from meldflow.storage.format.columns import array_of
from meldflow.storage.reading.snapshot import Snapshot
from meldflow.storage.writing.transaction import open_run
from tests.paths import ROOT
from tests.storage.attempt import Wish, in_a_process
from tests.storage.corpus import extract_all
from tests.storage.states import PARTITION, state
from tests.storage.truth import Digests, stored_rows, true_rows

SEED = 3
FOLDERS = ("chunks", "manifests", "refs", "snapshots", "transactions")
"""What Icechunk keeps in a store; newer ones write the layout of the older, which all can read."""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that shows state 0; nobody may touch it."""
    store = tmp_path_factory.mktemp("published") / "s"
    extract(store, 0)
    return store


@pytest.fixture
def store(published: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return shutil.copytree(published, tmp_path / "s")


def extract(store: Path, number: int) -> str:
    """Publishes a state; gives the snapshot."""
    one = state(SEED, number)
    with open_run(str(store), one.specs, partition=PARTITION) as run:
        extract_all(run, one.utterances, one.specs)
        return run.publish()


def shown(store: Path) -> Digests:
    return stored_rows(open_store(str(store)))


def truth(number: int) -> Digests:
    one = state(SEED, number)
    return true_rows(one.utterances, one.specs)


@contextmanager
def file_in_place_of(folder: Path) -> Iterator[None]:
    """Neither readable nor writable, even for root."""
    away = folder.with_name("away")
    folder.rename(away)
    folder.write_text("")
    try:
        yield
    finally:
        folder.unlink()
        away.rename(folder)


def one_line_about(store: Path, caught: pytest.ExceptionInfo[MeldflowError]) -> bool:
    return str(store) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_run_that_cannot_read_or_write(store: Path, folder: str) -> None:
    with file_in_place_of(store / folder), pytest.raises(MeldflowError) as caught:
        extract(store, 1)
    assert one_line_about(store, caught)
    assert shown(store) == truth(0)
    extract(store, 1)
    assert shown(store) == truth(1)


@pytest.mark.parametrize("folder", [one for one in FOLDERS if one != "transactions"])
def test_a_reader_that_cannot_read(store: Path, folder: str) -> None:
    with file_in_place_of(store / folder), pytest.raises(MeldflowError) as caught:
        shown(store)
    assert one_line_about(store, caught)
    assert shown(store) == truth(0)


READS: dict[str, Callable[[Snapshot], object]] = {
    "state": lambda s: s.state("audio/voice"),
    "features": lambda s: s.features("audio/voice", "mean"),
    "frames": lambda s: s.frames("audio/voice", "frames", "train/dia1_utt0"),
    "iter_frames": lambda s: list(s.iter_frames("audio/voice", "frames")),
    "counts": lambda s: s.counts(),
    "clips": lambda s: s.clips(),
}


@pytest.mark.parametrize("what", READS)
def test_a_chunk_that_is_gone(store: Path, what: str) -> None:
    snapshot = open_store(str(store))
    for folder in ("chunks", "manifests"):
        for file in (store / folder).iterdir():
            file.unlink()
    with pytest.raises(RunError, match="cannot be read"):
        READS[what](snapshot)


LIMITS = (0, 600, 2000, 4000)
"""Bytes; the largest file that the run writes has about nine thousand."""


@pytest.mark.parametrize("limit", LIMITS)
def test_files_that_cannot_be_written_whole(store: Path, limit: int) -> None:
    answer = in_a_process(
        Wish(action="extract", url=str(store), seed=SEED, state=1, file_size=limit)
    )
    assert not answer.done
    assert "File too large" in answer.failure
    assert "\n" not in answer.failure
    assert shown(store) == truth(0)
    extract(store, 1)
    assert shown(store) == truth(1)


def test_a_store_that_cannot_be_created_whole(tmp_path: Path) -> None:
    store = tmp_path / "s"
    answer = in_a_process(Wish(action="extract", url=str(store), seed=SEED, state=0, file_size=200))
    assert "File too large" in answer.failure
    assert not store.exists()
    extract(store, 0)
    assert shown(store) == truth(0)


def test_a_full_disk(tmp_path: Path) -> None:
    """On a file system of 1 MB, which only the processes below see."""
    mounted = f"mount -t tmpfs -o size=1m tmpfs {tmp_path}"
    alone = ["unshare", "--map-root-user", "--mount", "sh", "-ec"]
    if subprocess.run([*alone, mounted], capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    python = f"{sys.executable} -W ignore -m tests.storage.full_disk {tmp_path} {SEED}"
    done = subprocess.run(
        [*alone, f"{mounted}; exec {python}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert all("No space left" in each or "disk is full" in each for each in said if each)
    assert sum(map(bool, said)) > 1


class Faulty:
    """Finds arrays, and fails at the call that was planned."""

    def __init__(self, call: int) -> None:
        self.calls = 0
        self._call = call

    def __call__(self, group: Any, name: str) -> Any:
        self.calls += 1
        if self.calls == self._call:
            raise icechunk.IcechunkError("error reading object: operation timed out")
        return array_of(group, name)


@pytest.mark.parametrize(
    "module", ["meldflow.storage.format.columns", "meldflow.storage.writing.partition"]
)
@pytest.mark.parametrize("call", [1, 3, 7])
def test_a_place_that_does_not_answer(
    store: Path, monkeypatch: pytest.MonkeyPatch, module: str, call: int
) -> None:
    """A local disk does not time out; what Icechunk says of a remote one is said here."""
    faulty = Faulty(call)
    monkeypatch.setattr(f"{module}.array_of", faulty)
    with pytest.raises(RunError, match="timed out"):
        extract(store, 1)
    assert faulty.calls == call
    monkeypatch.undo()
    assert shown(store) == truth(0)
    extract(store, 1)
    assert shown(store) == truth(1)
