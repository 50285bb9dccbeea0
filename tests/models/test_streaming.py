from __future__ import annotations

import multiprocessing
import pickle
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise, zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import distributed
from torch.utils.data import DataLoader

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import ArraySpec, FeatureRow
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.models.streaming import UNLABELLED, Batch, PartitionStream, pad
from meldflow.storage import PartitionReader, open_store
from tests.storage.corpus import SPECS, corpus, expected, extract, utterance

FRAMES, MEAN, WORDS = "audio/voice/frames", "audio/voice/mean", "text/words/embedding"

ARRAYS = {f"{spec.name}/{array.name}": array for spec in SPECS for array in spec.arrays} | {
    "audio/voice/tempo": ArraySpec(name="tempo", dims=(), shape=(), dtype="float32"),
    "audio/voice/count": ArraySpec(name="count", dims=(), shape=(), dtype="int32"),
}


@dataclass(frozen=True)
class Shelf:
    """Partitions in memory: number → how many rows; row numbers count through."""

    counts: Mapping[int, int]

    @property
    def arrays(self) -> Mapping[str, ArraySpec]:
        return {}

    def sizes(self) -> Mapping[int, int]:
        return self.counts

    def read(self, partition: int) -> Sequence[FeatureRow]:
        return [row_of(1000 * partition + i) for i in range(self.counts[partition])]


def row_of(number: int, emotion: str = "joy", **arrays: NDArray[Any]) -> FeatureRow:
    found = {f"audio/voice/{name}": array for name, array in arrays.items()}
    missing = dict.fromkeys(ARRAYS.keys() - found.keys(), "silent")
    return FeatureRow(
        row=number, id=f"train/{number}", emotion=emotion, arrays=found, missing=missing
    )


def order(stream: PartitionStream) -> list[int]:
    return [row.row for row in stream]


counts = st.dictionaries(st.integers(0, 40), st.integers(1, 5), max_size=12)
small = st.integers(1, 6)


@given(counts, small, small, st.integers(0, 9), st.integers(0, 9))
def test_every_partition_goes_to_one_worker_of_one_rank(
    counts: dict[int, int], world_size: int, workers: int, seed: int, epoch: int
) -> None:
    def dealt(number: int, of: int, rank: int = 0, world_size: int = 1) -> list[int]:
        shelf = Shelf(dict(sorted(counts.items(), reverse=bool(rank % 2))))
        stream = PartitionStream(shelf, seed=seed, rank=rank, world_size=world_size)
        stream.set_epoch(epoch)
        return stream._dealt((number, of))

    ranks = [dealt(0, 1, rank, world_size) for rank in range(world_size)]
    hands = [
        dealt(n, workers, rank, world_size) for rank in range(world_size) for n in range(workers)
    ]
    assert sorted(chain.from_iterable(hands)) == sorted(counts)
    assert max(map(len, ranks)) - min(map(len, ranks)) <= 1
    assert max(map(len, hands)) - min(map(len, hands)) <= 2
    assert [one for some in zip_longest(*ranks) for one in some if one is not None] == dealt(0, 1)


@given(counts, small, small, st.integers(0, 9))
def test_every_row_comes_once_per_epoch_over_all_ranks(
    counts: dict[int, int], world_size: int, buffer: int, epoch: int
) -> None:
    shelf = Shelf(counts)
    seen: Counter[int] = Counter()
    for rank in range(world_size):
        stream = PartitionStream(shelf, rank=rank, world_size=world_size, buffer=buffer)
        stream.set_epoch(epoch)
        rows = order(stream)
        assert len(rows) == len(stream)
        seen.update(rows)
    assert seen == Counter(row.row for p in counts for row in shelf.read(p))


def test_the_order_follows_from_seed_and_epoch_alone() -> None:
    shelf = Shelf(dict.fromkeys(range(6), 8))

    def at(seed: int, epoch: int) -> list[int]:
        stream = PartitionStream(shelf, seed=seed, buffer=3)
        stream.set_epoch(epoch)
        return order(stream)

    first = at(1, 4)
    np.random.default_rng().random()
    torch.manual_seed(3)
    assert at(1, 4) == first
    assert sorted(at(1, 5)) == sorted(at(2, 4)) == sorted(first)
    assert len({tuple(one) for one in (first, at(1, 5), at(2, 4), at(4, 1))}) == 4
    stream = PartitionStream(shelf, seed=1, buffer=3)
    assert order(stream) == order(stream) != first  # the epoch is 0 until another is set


def test_rows_of_the_partitions_held_together_are_mixed() -> None:
    rows = order(PartitionStream(Shelf(dict.fromkeys(range(8), 50)), buffer=4))
    for half in (rows[:200], rows[200:]):
        held = Counter(row // 1000 for row in half)
        assert sorted(held.values()) == [50] * 4
        # Unmixed, 3 of 199 neighbours come from different partitions; mixed, three in four.
        assert sum(one // 1000 != other // 1000 for one, other in pairwise(half)) > 100


def test_partitions_are_read_when_their_turn_comes() -> None:
    read: list[int] = []

    class Noting(Shelf):
        def read(self, partition: int) -> Sequence[FeatureRow]:
            read.append(partition)
            return super().read(partition)

    rows = iter(PartitionStream(Noting(dict.fromkeys(range(6), 2)), buffer=2))
    assert read == []
    for expected_reads in (2, 2, 2, 2, 4):
        next(rows)
        assert len(read) == expected_reads


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"rank": 0}, "give both or neither"),
        ({"world_size": 2}, "give both or neither"),
        ({"rank": 2, "world_size": 2}, "rank is 2: it has to be from 0 to 1"),
        ({"buffer": 0}, "buffer is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        PartitionStream(Shelf({0: 1}), **wrong)


def test_an_epoch_below_zero_is_refused() -> None:
    with pytest.raises(UsageError, match="epoch is -1"):
        PartitionStream(Shelf({0: 1})).set_epoch(-1)


def test_padding_tells_frames_from_filling_and_missing_from_both() -> None:
    two, five = (np.full((n, 6), n, np.float16) for n in (2, 5))
    whole: dict[str, NDArray[Any]] = {
        "mean": np.ones(6, np.float32),
        "tempo": np.array(90, np.float32),
        "count": np.array(7, np.int32),
    }
    rows = [
        row_of(3, "anger", frames=two, **whole),
        row_of(9, ""),
        row_of(4, "joy", frames=five, **whole),
    ]
    batch = pad(rows, ARRAYS)
    assert (batch.ids, batch.rows.tolist()) == (["train/3", "train/9", "train/4"], [3, 9, 4])
    assert batch.emotions.tolist() == [EMOTIONS.index("anger"), UNLABELLED, EMOTIONS.index("joy")]
    frames = batch.values[FRAMES]
    assert (frames.shape, frames.dtype) == ((3, 5, 6), torch.float16)
    assert frames[0, :, 0].tolist() == [2, 2, 0, 0, 0]
    assert frames[1].isnan().all()
    assert frames[2].eq(5).all()
    assert batch.lengths[FRAMES].tolist() == [2, 0, 5]
    assert batch.masks[FRAMES].tolist() == [[True] * 2 + [False] * 3, [False] * 5, [True] * 5]
    assert batch.present[MEAN].tolist() == [True, False, True]
    assert batch.values[MEAN][1].isnan().all()
    assert batch.values["audio/voice/tempo"][[0, 2]].tolist() == [90, 90]
    assert batch.values["audio/voice/count"].tolist() == [7, 0, 7]
    assert batch.present["audio/voice/count"].tolist() == [True, False, True]
    assert batch.missing[1] == dict.fromkeys(ARRAYS, "silent")
    assert batch.missing[0] == {WORDS: "silent"}
    assert set(batch.lengths) == set(batch.masks) == {FRAMES}


def test_a_batch_without_any_feature_keeps_its_dims() -> None:
    batch = pad([row_of(1), row_of(2)], ARRAYS)
    assert batch.values[FRAMES].shape == (2, 0, 6)
    assert batch.masks[FRAMES].shape == (2, 0)
    assert batch.values[WORDS].shape == (2, 4)
    assert batch.values[WORDS].isnan().all()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """38 active utterances in 10 partitions of 4; two rows left, 3 are silent."""
    folder = tmp_path_factory.mktemp("stream") / "s"
    everything = corpus(40)
    for n in (2, 17, 18):
        everything[n] = utterance(n, text=f"silent {n}", emotion="joy")
    extract(folder, everything)
    extract(folder, [one for n, one in enumerate(everything) if n not in (5, 30)])
    return folder


def reader_of(store: Path) -> PartitionReader:
    return open_store(str(store)).partitions(FRAMES, MEAN, WORDS)


def epoch_of(loader: DataLoader[FeatureRow]) -> list[Batch]:
    return list(loader)


def loader_of(
    stream: PartitionStream, workers: int, *, stay: bool = False
) -> DataLoader[FeatureRow]:
    return DataLoader(
        stream,
        batch_size=5,
        num_workers=workers,
        collate_fn=stream.collate,
        multiprocessing_context="spawn" if workers else None,
        persistent_workers=stay,
    )


def rows_of(batches: Sequence[Batch]) -> list[int]:
    return [row for batch in batches for row in batch.rows.tolist()]


@pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker")  # on two cores
@pytest.mark.parametrize(
    ("workers", "world_size"),
    [(0, 1), (0, 3), (1, 2)] + [pytest.param(*o, marks=pytest.mark.slow) for o in ((2, 2), (3, 1))],
)
def test_loaders_give_every_row_once_over_ranks_and_workers(
    store: Path, workers: int, world_size: int
) -> None:
    active = open_store(str(store)).rows().tolist()
    batches: list[Batch] = []
    for rank in range(world_size):
        stream = PartitionStream(
            reader_of(store), seed=7, buffer=2, rank=rank, world_size=world_size
        )
        mine = epoch_of(loader_of(stream, workers))
        assert len(rows_of(mine)) == len(stream)
        batches += mine
    assert sorted(rows_of(batches)) == active
    everything = {one.id: one for one in corpus(40)}
    for batch in batches:
        for i, name in enumerate(batch.ids):
            if batch.missing[i]:
                assert batch.rows[i] in (2, 17, 18)
                assert batch.missing[i] == {FRAMES: "silent", MEAN: "silent"}
                assert batch.values[MEAN][i].isnan().all()
                assert batch.values[FRAMES][i].isnan().all()
            else:
                record = expected(SPECS[0], everything[name])
                length = int(batch.lengths[FRAMES][i])
                frames = batch.values[FRAMES][i, :length].numpy()
                np.testing.assert_array_equal(frames, record["frames"])  # type: ignore[index]
                assert batch.masks[FRAMES][i].sum() == length
                assert not batch.values[FRAMES][i, length:].any()


def test_workers_that_stay_follow_the_epoch_and_repeat_it(store: Path) -> None:
    stream = PartitionStream(reader_of(store), buffer=2)
    loader = loader_of(stream, 2, stay=True)
    orders = []
    for epoch in (0, 1, 0):
        stream.set_epoch(epoch)
        orders.append(rows_of(epoch_of(loader)))
    assert orders[0] == orders[2] != orders[1]
    assert sorted(orders[0]) == sorted(orders[1])
    again = PartitionStream(reader_of(store), buffer=2)
    again.set_epoch(1)
    assert rows_of(epoch_of(loader_of(again, 2))) == orders[1]


def test_a_forked_worker_is_refused_before_it_hangs(store: Path) -> None:
    stream = PartitionStream(reader_of(store))
    loader = DataLoader(
        stream, num_workers=1, collate_fn=stream.collate, multiprocessing_context="fork"
    )
    with pytest.raises(UsageError, match='multiprocessing_context="spawn"'):
        list(loader)


def _take_part(rank: int, store: Path, meeting: Path, results: Path) -> None:
    distributed.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2)
    stream = PartitionStream(reader_of(store))
    workers = rank  # one rank reads in its own process, the other in a worker's
    rows = rows_of(epoch_of(loader_of(stream, workers)))
    (results / str(rank)).write_bytes(pickle.dumps(rows))
    distributed.destroy_process_group()


def test_ranks_are_taken_from_torch_distributed(store: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    arguments = (store, tmp_path / "meeting", tmp_path)
    ranks = [context.Process(target=_take_part, args=(rank, *arguments)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join()
    assert [process.exitcode for process in ranks] == [0, 0]
    rows = [pickle.loads((tmp_path / str(rank)).read_bytes()) for rank in range(2)]
    assert rows[0]
    assert rows[1]
    assert sorted(rows[0] + rows[1]) == open_store(str(store)).rows().tolist()
