"""What the benches of storage and training measure, on stores small enough to wait for."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.models.schema.utterances import EMOTIONS
from tests.bench import command
from tests.bench.stores import growth, reading, training


def test_all_ways_read_the_same_frames() -> None:
    found = reading.measure(70, 2, lambda _: None)
    read = {name: {one.megabytes for one in costs} for name, costs in found.rounds.items()}
    assert set(read) == set(reading.WAYS)
    frames = sum(max(1, int(one.clip.seconds * 50)) for one in reading.utterances(70))
    assert set().union(*read.values()) == {frames * reading.WIDTH * 2 / 1e6}
    assert set(found.ratios) == {random for random, _ in reading.PAIRS}


def test_the_memory_of_an_operation_is_its_own_process_s() -> None:
    ballast = b"x" * 600_000_000
    (found,) = growth.measure([100], lambda _: None, operations=["nothing"])
    assert 20 < found.peak_mb < 400
    del ballast


def test_the_corpus_that_is_trained_on_has_melds_splits_and_all_emotions() -> None:
    found = list(training.corpus(13_708))
    for split, size in {"train": 9_989, "dev": 1_109, "test": 2_610}.items():
        assert sum(one.split == split for one in found) == size
    assert {one.emotion for one in found} == set(EMOTIONS)
    assert len({one.id for one in found}) == len(found)


@pytest.mark.slow
def test_bench_store_measures_every_operation_and_way(tmp_path: Path) -> None:
    few = ("--sizes", "1200", "--utterances", "70", "--rounds", "1")
    found = command.measured("store", *few, cwd=tmp_path)
    assert [one["operation"] for one in found["growth"]] == list(growth.OPERATIONS)
    assert all(one["peak_mb"] > 0 for one in found["growth"])
    assert set(found["reading"]["rounds"]) == set(reading.WAYS)


@pytest.mark.slow
def test_bench_train_measures_both_networks(tmp_path: Path) -> None:
    few = ("--utterances", "600", "--seeds", "1", "--workers", "1")
    found = command.measured("train", *few, cwd=tmp_path)
    assert [one["network"] for one in found["costs"]] == list(training.NETWORKS)
    for one in found["costs"]:
        assert 0 < sum(one["stages"].values()) < one["seconds"]
        assert one["epochs"] > 0
        assert one["peak_mb"] > 100
        assert (one["workers"], one["fits"]) == (1, 1)
