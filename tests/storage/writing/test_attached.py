"""What a run leaves beside its features, and what its partitions weigh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.storage import open_store
from meldflow.storage.format import run_table
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import SPECS, corpus, do_partition, extract, extract_all

LOAD = {
    "seconds": np.arange(3, dtype=np.float32),
    "worker": np.array(["cpu-0", "cpu-1", "gpu “0”"]),
    "tasks": np.array([1, 2, 3], dtype=np.int16),
}


def attach(url: str, n: int, load: Mapping[str, NDArray[Any]]) -> None:
    with open_run(url, SPECS, partition=4) as run:
        extract_all(run, corpus(n), SPECS)
        run.entry.attach("load", load)
        run.publish()


def test_a_run_keeps_small_arrays_and_later_runs_leave_them_alone(url: str) -> None:
    attach(url, 5, LOAD)
    attach(url, 6, {})
    snapshot = open_store(url)
    assert [run.summary != "" for run in snapshot.runs] == [True, True]
    kept = snapshot.attached(0, "load")
    assert {name: values.tolist() for name, values in kept.items()} == {
        name: values.tolist() for name, values in LOAD.items()
    }
    assert snapshot.attached(1, "load") == {}
    assert snapshot.attached(7, "load") == {}
    assert snapshot.attached(0, "nothing") == {}
    assert snapshot.extractors == ("audio/voice", "text/words")


def test_empty_arrays_and_a_second_attachment_of_the_same_name(tmp_path: Path) -> None:
    with open_run(str(tmp_path / "s"), SPECS, partition=4) as run:
        extract_all(run, corpus(5), SPECS)
        run.entry.attach("load", LOAD)
        run.entry.attach("load", {name: values[:0] for name, values in LOAD.items()})
        run.publish()
    kept = open_store(str(tmp_path / "s")).attached(0, "load")
    assert {name: len(values) for name, values in kept.items()} == dict.fromkeys(LOAD, 0)


def test_a_run_that_is_not_published_shows_nothing(tmp_path: Path) -> None:
    extract(tmp_path / "s", corpus(3))
    with open_run(str(tmp_path / "s"), SPECS, partition=4) as run:
        extract_all(run, corpus(5), SPECS)
        run.entry.attach("load", LOAD)
        run.commit()
    assert open_store(str(tmp_path / "s")).attached(1, "load") == {}


def test_only_the_newest_runs_have_their_attachments_in_the_newest_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_table, "KEEP_ATTACHED", 2)
    first = ""
    for n in range(1, 5):
        attach(str(tmp_path / "s"), n, LOAD)
        first = first or open_store(str(tmp_path / "s")).id
    snapshot = open_store(str(tmp_path / "s"))
    assert [bool(snapshot.attached(run, "load")) for run in range(4)] == [False, False, True, True]
    assert open_store(str(tmp_path / "s"), first).attached(0, "load")


def test_a_partition_says_what_its_chunks_take(tmp_path: Path) -> None:
    utterances = corpus(4)
    with open_run(str(tmp_path / "s"), SPECS, partition=4) as run:
        run.sync(utterances)
        run.commit()
        before = _size(tmp_path / "s")
        (part,) = run.plan().partitions
        written = do_partition(run, part, utterances, SPECS)
        grown = _size(tmp_path / "s") - before
        run.merge(written)
        run.publish()
    # Icechunk holds the smallest chunks in its manifests, which come with the commit.
    assert written.n_bytes > 0
    assert grown <= written.n_bytes <= grown + 4 * 2**10


def _size(store: Path) -> int:
    return sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
