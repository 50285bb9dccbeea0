"""What reading costs: shuffled partitions against random access.

A store of random frames is read whole, in four ways that take turns. It stays in the page cache,
so this is about CPU, not about disks.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.features import ArraySpec, FeatureRow, FeatureSpec, Weights
from meldflow.models.schema.media import Modality
from meldflow.models.schema.utterances import Utterance
from meldflow.models.streaming import PartitionStream, pad
from meldflow.storage import Snapshot, open_store
from meldflow.storage.writing.transaction import open_run
from tests.bench.stores.standin import fill, utterance

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


def utterances(n: int) -> list[Utterance]:
    """``n`` utterances as long as MELD's are."""
    drawn = np.random.default_rng(0).lognormal(LOG_SECONDS, LOG_SPREAD, n)
    return [utterance(i, seconds=min(s, LONGEST)) for i, s in enumerate(drawn.tolist())]


def write(store: Path, n: int) -> None:
    """Writes a store of random frames, through the run that every extraction uses."""
    wanted = utterances(n)
    random = np.random.default_rng(1)
    with open_run(str(store), (SPEC,), partition=PARTITION) as run:
        run.sync(wanted)
        fill(run, (SPEC,), lambda _, row: {"frames": _frames(random, wanted[row])})
        run.publish()


def by_partition(snapshot: Snapshot, seed: int) -> Iterator[FeatureRow]:
    """All rows, by partitions in random order."""
    return iter(PartitionStream(snapshot.partitions(PATH), seed=seed))


def at_random(snapshot: Snapshot, seed: int) -> Iterator[FeatureRow]:
    """All rows in random order, each read by itself.

    One request that names all frames of a batch (``oindex``) took more CPU, not less.
    """
    for row in np.random.default_rng(seed).permutation(snapshot.rows()).tolist():
        frames = snapshot.frames(SPEC.name, "frames", snapshot.ids[row])
        yield FeatureRow(row=row, id="", emotion="", arrays={PATH: frames}, missing={})


WAYS: Mapping[str, tuple[Callable[[Snapshot, int], Iterator[FeatureRow]], int]] = {
    "partitions, row by row": (by_partition, 1),
    "random rows, one by one": (at_random, 1),
    f"partitions, batches of {BATCH}": (by_partition, BATCH),
    f"random batches of {BATCH}": (at_random, BATCH),
}
"""Way → where its rows come from, and how many are padded to a batch."""

PAIRS = (
    ("random rows, one by one", "partitions, row by row"),
    (f"random batches of {BATCH}", f"partitions, batches of {BATCH}"),
)
"""Random access, and the way by partitions that gives the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the ways of reading took."""

    utterances: int
    rounds: Mapping[str, Sequence[Cost]]
    """Way → its cost in every round."""

    @property
    def ratios(self) -> dict[str, float]:
        """Random access → its CPU over that of partitions, median of the rounds' ratios."""
        return {
            random: statistics.median(
                one.cpu_seconds / other.cpu_seconds
                for one, other in zip(self.rounds[random], self.rounds[partition], strict=True)
            )
            for random, partition in PAIRS
        }

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"cpu_ratio": self.ratios}


def measure(n: int, rounds: int, say: Callable[[str], None]) -> Reading:
    """Reads ``n`` utterances in every way, in turns; each opens the store anew."""
    costs: dict[str, list[Cost]] = {name: [] for name in WAYS}
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as folder:
        store = Path(folder) / "store"
        say(f"writing the frames of {n:,} utterances")
        write(store, n)
        for number in range(rounds):
            for name in WAYS:
                say(f"reading {name}, round {number + 1} of {rounds}")
                costs[name].append(_cost(name, store, number))
    return Reading(utterances=n, rounds=costs)


def _cost(name: str, store: Path, seed: int) -> Cost:
    cpu, wall = time.process_time(), time.perf_counter()
    source, size = WAYS[name]
    rows, read = source(open_store(str(store)), seed), 0
    while batch := list(islice(rows, size)):
        if size > 1:
            pad(batch, {PATH: SPEC.arrays[0]})
        read += sum(row.arrays[PATH].nbytes for row in batch)
    return Cost(
        cpu_seconds=time.process_time() - cpu,
        wall_seconds=time.perf_counter() - wall,
        megabytes=read / 1e6,
    )


def _frames(random: np.random.Generator, one: Utterance) -> NDArray[np.float16]:
    n_frames = max(1, int(one.clip.seconds * 50))
    return random.standard_normal((n_frames, WIDTH), np.float32).astype(np.float16)
