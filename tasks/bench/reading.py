"""What reading costs: shuffled partitions against random access.

``python -m tests.bench.reading`` writes a store of random frames in a temporary folder and
reads it whole, in four ways that take turns. The store stays in the page cache, so this is
about CPU, not about disks.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.schema import ArraySpec, Clip, FeatureRow, FeatureSpec, Modality, Utterance, Weights
from models.streaming import PartitionStream, pad
from storage import Snapshot, open_store
from storage.run import open_run
from storage.write import Result, write_partition

PARTITION = 64
BATCH = 64
WIDTH = 768
PATH = "audio/frames/frames"

LOG_SECONDS, LOG_SPREAD, LONGEST = 0.8756, 0.7698, 41.04
"""Mean and deviation of the logarithm of MELD's durations in seconds, and the longest: 13,705
utterances whose annotated duration is positive and below a minute."""

SPEC = FeatureSpec(
    name="audio/frames",
    modality=Modality.AUDIO,
    version=1,
    weights=Weights(kind="none", revision="none"),
    arrays=(
        ArraySpec(
            name="frames", dims=("frame", "channel"), shape=(WIDTH,), dtype="float16", rate=50.0
        ),
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one pass over the store took."""

    cpu_seconds: float
    """Of this process, all its threads together."""
    wall_seconds: float
    megabytes: float
    """Of frames, unpacked; 10^6 bytes."""

    @property
    def megabytes_per_second(self) -> float:
        """By the wall clock."""
        return self.megabytes / self.wall_seconds


def utterances(n: int) -> list[Utterance]:
    """``n`` utterances as long as MELD's are."""
    drawn = np.random.default_rng(0).lognormal(LOG_SECONDS, LOG_SPREAD, n)
    return [_utterance(i, min(s, LONGEST)) for i, s in enumerate(drawn.tolist())]


def fill(store: Path, n: int) -> None:
    """Writes a store of random frames, through the run that every extraction uses."""
    wanted = utterances(n)
    random = np.random.default_rng(1)
    with open_run(str(store), (SPEC,), partition=PARTITION) as run:
        run.sync(wanted)
        for part in run.plan().partitions:
            results = {
                row: Result(record={"frames": _frames(random, wanted[row])}, seconds=0.0)
                for row in part.rows[SPEC.name]
            }
            written = write_partition(
                run.fork(), part.partition, {SPEC.name: results}, (SPEC,), partition_size=PARTITION
            )
            run.merge(written)
        run.publish()


def partitions(snapshot: Snapshot, seed: int) -> Iterator[int]:
    """The rows of shuffled partitions, one by one; gives their bytes."""
    for row in PartitionStream(snapshot.partitions(PATH), seed=seed):
        yield row.arrays[PATH].nbytes


def single_rows(snapshot: Snapshot, seed: int) -> Iterator[int]:
    """All rows in random order by ``Snapshot.frames``."""
    for row in _shuffled_rows(snapshot, seed):
        yield snapshot.frames(SPEC.name, "frames", snapshot.ids[row]).nbytes


def partition_batches(snapshot: Snapshot, seed: int) -> Iterator[int]:
    """Padded batches of the rows of shuffled partitions; gives the bytes before padding."""
    stream = PartitionStream(snapshot.partitions(PATH), seed=seed)
    held: list[FeatureRow] = []
    for row in stream:
        held.append(row)
        if len(held) == BATCH:
            yield _padded(held)
            held = []
    yield _padded(held) if held else 0


def random_batches(snapshot: Snapshot, seed: int) -> Iterator[int]:
    """Padded batches of random rows, each read by itself.

    One request that names all frames of a batch (``oindex``) took more CPU, not less.
    """
    order = _shuffled_rows(snapshot, seed)
    for first in range(0, len(order), BATCH):
        rows = order[first : first + BATCH]
        ids = [snapshot.ids[row] for row in rows]
        frames = [snapshot.frames(SPEC.name, "frames", name) for name in ids]
        yield _padded([_row(row, one) for row, one in zip(rows, frames, strict=True)])


WAYS: Mapping[str, Callable[[Snapshot, int], Iterator[int]]] = {
    "partitions, row by row": partitions,
    "random rows, one by one": single_rows,
    f"partitions, batches of {BATCH}": partition_batches,
    f"random batches of {BATCH}": random_batches,
}

PAIRS = (
    ("random rows, one by one", "partitions, row by row"),
    (f"random batches of {BATCH}", f"partitions, batches of {BATCH}"),
)
"""Random access, and the way by partitions that gives the same."""


def measure(store: Path, rounds: int) -> dict[str, list[Cost]]:
    """Way → its cost in every round; the ways take turns, each opens the store anew."""
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    for number in range(rounds):
        for name, way in WAYS.items():
            cpu, wall = time.process_time(), time.perf_counter()
            read = sum(way(open_store(str(store)), number))
            costs[name].append(
                Cost(
                    cpu_seconds=time.process_time() - cpu,
                    wall_seconds=time.perf_counter() - wall,
                    megabytes=read / 1e6,
                )
            )
    return costs


def median(costs: Sequence[Cost]) -> Cost:
    """The median of each quantity."""
    columns = [asdict(one) for one in costs]
    return Cost(**{name: statistics.median(one[name] for one in columns) for name in columns[0]})


def ratios(costs: Mapping[str, Sequence[Cost]]) -> dict[str, float]:
    """Random access → its CPU over that of partitions, median of the rounds' ratios."""
    return {
        random: statistics.median(
            one.cpu_seconds / other.cpu_seconds
            for one, other in zip(costs[random], costs[partition], strict=True)
        )
        for random, partition in PAIRS
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--utterances", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store"
        fill(store, options.utterances)
        costs = measure(store, options.rounds)
    print(_as_json(costs) if options.json else _as_table(costs))


def _as_json(costs: Mapping[str, Sequence[Cost]]) -> str:
    rounds = {name: [asdict(one) for one in several] for name, several in costs.items()}
    return json.dumps({"rounds": rounds, "cpu_ratio": ratios(costs)}, indent=2)


def _as_table(costs: Mapping[str, Sequence[Cost]]) -> str:
    lines = [f"{'median of the rounds':<28}{'CPU s':>8}{'wall s':>8}{'MB/s':>8}"]
    for name, several in costs.items():
        cost = median(several)
        times = f"{cost.cpu_seconds:>8.2f}{cost.wall_seconds:>8.2f}"
        lines.append(f"{name:<28}{times}{cost.megabytes_per_second:>8.0f}")
    lines += [
        f"{name}: {ratio:.2f} x the CPU of partitions" for name, ratio in ratios(costs).items()
    ]
    return "\n".join(lines)


def _utterance(number: int, seconds: float) -> Utterance:
    clip = Clip(
        path=f"/clips/{number}.mp4",
        sha256=hashlib.sha256(str(number).encode()).digest(),
        size=0,
        mtime_ns=0,
        seconds=seconds,
    )
    return Utterance(
        split="train",
        dialogue=number // 10,
        utterance=number % 10,
        text="",
        speaker="",
        emotion="neutral",
        sentiment="",
        seconds=seconds,
        clip=clip,
    )


def _frames(random: np.random.Generator, one: Utterance) -> NDArray[np.float16]:
    n_frames = max(1, int(one.clip.seconds * 50))
    return random.standard_normal((n_frames, WIDTH), np.float32).astype(np.float16)


def _shuffled_rows(snapshot: Snapshot, seed: int) -> list[int]:
    order: list[int] = np.random.default_rng(seed).permutation(snapshot.rows()).tolist()
    return order


def _row(row: int, frames: NDArray[Any]) -> FeatureRow:
    return FeatureRow(row=row, id="", emotion="", arrays={PATH: frames}, missing={})


def _padded(rows: Sequence[FeatureRow]) -> int:
    pad(rows, {PATH: SPEC.arrays[0]})
    return sum(row.arrays[PATH].nbytes for row in rows)


if __name__ == "__main__":
    main()
