"""What training costs: a store of MELD's size, on one worker and on more.

The features are noise in the shape of the extractors' with some of the emotion in it; the sizes of
the splits and the emotions' shares are MELD's. How much emotion there is decides after how many
epochs dev is best: an epoch costs what it would on MELD, the whole differs, and the scores mean
nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.extractors import registry
from meldflow.models.schema.features import Record
from meldflow.models.schema.utterances import EMOTIONS, Utterance
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.demo.script import PROPORTIONS
from tests.bench.clips.corpora import MELD
from tests.bench.running.system import System, cluster, server
from tests.bench.running.usage import cpu_seconds, peaks
from tests.bench.stores.standin import fill, utterance

NETWORKS = ("fusion", "reference")

SHARES = {"train": 9_989 / MELD, "dev": 1_109 / MELD, "test": 2_610 / MELD}
"""Of MELD's utterances, by split."""

PER_DIALOGUE = 10

TEXT = "text/minilm"
FRAMES = 150
"""Of a clip, in every ragged array: three seconds of sound."""
NOISES = 8
"""Blocks of noise that utterances take turns with: nothing packs them, and few are drawn."""
SIGNAL = 1.3
"""How far from the origin an emotion's vectors centre, in deviations of the noise."""

PARTITION = 1024
"""Utterances per partition: large ones, since writing the store is not what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is trained."""

    networks: Sequence[str] = NETWORKS
    modalities: Sequence[str] = ("audio", "text", "video")
    seeds: int = 2
    ablations: bool = False
    """Whether the same is done with less to go on, as by default."""
    workers: Sequence[int] = (1, 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a training took."""

    network: str
    workers: int
    fits: int
    seconds: float
    """Of the command, from its start to its end, report included."""
    cpu_seconds: float
    """Of the command and of the workers that fit."""
    peak_mb: float
    """The most memory that a worker held, on the mean, MB."""
    read_seconds: float
    """Of reading from the store, for one fit."""
    stages: Mapping[str, float]
    """Stage → seconds of the first fit: inputs, network, SVM, judging."""
    epochs: int
    """Passes over the training split until dev was best for long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the bench found."""

    utterances: int
    modalities: Sequence[str]
    costs: tuple[Cost, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; how many times as fast the most workers are as the fewest, too."""
        seconds: dict[str, list[float]] = {}
        for one in self.costs:
            seconds.setdefault(one.network, []).append(one.seconds)
        faster = {name: round(each[0] / each[-1], 2) for name, each in seconds.items()}
        return asdict(self) | {
            "costs": [asdict(one) for one in self.costs],
            "times_as_fast": faster,
        }


def measure(utterances: int, say: Callable[[str], None], work: Work) -> Training:
    """Trains each network on each number of workers.

    Args:
        utterances: of the store; MELD's splits keep their shares.
        say: told what is being done.
        work: what is trained.

    Raises:
        RunError: a process did not start, or a training failed.
    """
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as named:
        folder = Path(named)
        say(f"writing a store of {utterances:,} utterances")
        write(folder / "store", utterances, None if set(work.modalities) > {"text"} else (TEXT,))
        say("starting a Prefect server")
        with server(folder) as up:
            costs = []
            for network, workers in product(work.networks, work.workers):
                say(f"training the network {network} on {workers} workers")
                with cluster(up, workers):  # its own, so that it has loaded nothing before
                    costs.append(_cost(up, network, workers, work))
    return Training(utterances=utterances, modalities=work.modalities, costs=tuple(costs))


def corpus(n: int) -> Iterator[Utterance]:
    """``n`` utterances in MELD's splits, with its emotions at random."""
    drawn = np.random.default_rng(0).choice([*PROPORTIONS], n, p=[*PROPORTIONS.values()])
    splits = np.searchsorted(np.cumsum(list(SHARES.values())), (np.arange(n) + 0.5) / n)
    for number, (emotion, split) in enumerate(zip(drawn.tolist(), splits.tolist(), strict=True)):
        dialogue, place = divmod(number, PER_DIALOGUE)
        yield utterance(
            number,
            split=list(SHARES)[split],
            dialogue=dialogue,
            utterance=place,
            speaker=("Ann", "Ben")[place % 2],
            emotion=emotion,
        )


def write(store: Path, n: int, names: Sequence[str] | None = (TEXT,)) -> None:
    """Writes the store of ``corpus``, with features of these extractors (None: of all)."""
    specs = [one.spec for one in registry.build(names, {}, "random")]
    random = np.random.default_rng(1)
    shapes = {
        (spec.name, one.name): (*(() if one.rate is None else (FRAMES,)), *one.shape)
        for spec in specs
        for one in spec.arrays
    }
    noise = {path: random.standard_normal((NOISES, *of), np.float32) for path, of in shapes.items()}
    middles = {
        path: random.standard_normal((len(EMOTIONS), *of[-1:])) for path, of in shapes.items()
    }
    for middle in middles.values():
        middle *= SIGNAL / np.linalg.norm(middle, axis=-1, keepdims=True)
    with open_run(str(store), specs, partition=PARTITION) as run:
        run.sync(list(corpus(n)))
        places = [EMOTIONS.index(name) for name in run.utterances["emotion"].tolist()]

        def record(extractor: str, row: int) -> Record:
            (spec,) = (one for one in specs if one.name == extractor)
            return {one.name: values((extractor, one.name), row) for one in spec.arrays}

        def values(path: tuple[str, str], row: int) -> NDArray[Any]:
            own = random.standard_normal(shapes[path][-1:], np.float32)
            return np.asarray(noise[path][row % NOISES] + own + middles[path][places[row]])

        fill(run, specs, record)
        run.publish()


def _cost(up: System, network: str, workers: int, work: Work) -> Cost:
    report = up.folder / f"{network}-{workers}"
    before = cpu_seconds(up.processes["workers"])
    with peaks(up.processes) as most:
        done = up.run(
            *("train", up.folder / "store", "--report", report, "--network", network),
            *("--modalities", ",".join(work.modalities), "--seeds", str(work.seeds)),
            *(() if work.ablations else ("--no-ablations",)),
            *("--cluster", up.profile, "--tracking", "none", "--json"),
        )
    page = Path(json.loads(done.output)["report"])
    record = json.loads((page.parent / "results.json").read_text(encoding="utf-8"))
    seed, less = record["seeds"][0], record["ablations"]
    return Cost(
        network=network,
        workers=workers,
        fits=len(record["seeds"]) + sum(one["seeds"] for one in less),
        seconds=round(done.seconds, 2),
        cpu_seconds=round(done.cpu_seconds + cpu_seconds(up.processes["workers"]) - before, 2),
        peak_mb=round(most["workers"] / workers, 1),
        read_seconds=record["read_seconds"],
        stages=seed["durations"],
        epochs=len(seed["history"]),
    )
