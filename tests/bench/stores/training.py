"""What training costs: both networks on a store of MELD's size, each in a process of its own.

The features are noise in the shape of MiniLM's with some of the emotion in it; the sizes of the
splits and the emotions' shares are MELD's. How much emotion there is decides after how many epochs
dev is best: an epoch costs what it would on MELD, the whole differs, and the scores mean nothing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

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
WIDTH = 384
SIGNAL = 1.3
"""How far from the origin an emotion's vectors centre, in deviations of the noise."""

PARTITION = 1024
"""Utterances per partition: large ones, since writing the store is not what is measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a training took."""

    network: str
    seconds: float
    """Of the command, from its start to its end, report included."""
    cpu_seconds: float
    """Of the command and of the worker that fits."""
    peak_mb: float
    """The most memory that the worker held, MB."""
    read_seconds: float
    """Of reading from the store."""
    stages: Mapping[str, float]
    """Stage → seconds: inputs, network, SVM, judging."""
    epochs: int
    """Passes over the training split until dev was best for long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What the bench found."""

    utterances: int
    costs: tuple[Cost, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def measure(utterances: int, say: Callable[[str], None]) -> Training:
    """Trains each network with one seed on texts alone, without ablations.

    Args:
        utterances: of the store; MELD's splits keep their shares.
        say: told what is being done.

    Raises:
        RunError: a process did not start, or a training failed.
    """
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as named:
        folder = Path(named)
        say(f"writing a store of {utterances:,} utterances")
        write(folder / "store", utterances)
        say("starting a Prefect server")
        with server(folder) as up:
            costs = []
            for network in NETWORKS:
                say(f"training the network {network}")
                with cluster(up, 1):  # its own, so that it has loaded nothing before
                    costs.append(_cost(up, network))
    return Training(utterances=utterances, costs=tuple(costs))


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


def write(store: Path, n: int) -> None:
    """Writes the store of ``corpus``."""
    (text,) = registry.build([TEXT], {}, "random")
    said = list(corpus(n))
    random = np.random.default_rng(1)
    noise = random.standard_normal((n, WIDTH), np.float32)
    middles = random.standard_normal((len(EMOTIONS), WIDTH), np.float32)
    middles *= SIGNAL / np.linalg.norm(middles, axis=1, keepdims=True)
    with open_run(str(store), [text.spec], partition=PARTITION) as run:
        run.sync(said)
        names = np.array(run.utterances["emotion"][:], dtype=str)
        places = [EMOTIONS.index(name) for name in names.tolist()]
        arrays = text.spec.arrays

        def record(_: str, row: int) -> Record:
            vector = noise[row] + middles[places[row]]
            return {one.name: np.broadcast_to(vector, one.shape) for one in arrays}

        fill(run, [text.spec], record)
        run.publish()


def _cost(up: System, network: str) -> Cost:
    report = up.folder / network
    before = cpu_seconds(up.processes["workers"])
    with peaks(up.processes) as most:
        done = up.run(
            *("train", up.folder / "store", "--report", report, "--network", network),
            *("--modalities", "text", "--seeds", "1", "--no-ablations"),
            *("--cluster", up.profile, "--tracking", "none", "--json"),
        )
    page = Path(json.loads(done.output)["report"])
    record = json.loads((page.parent / "results.json").read_text(encoding="utf-8"))
    (seed,) = record["seeds"]
    return Cost(
        network=network,
        seconds=round(done.seconds, 2),
        cpu_seconds=round(done.cpu_seconds + cpu_seconds(up.processes["workers"]) - before, 2),
        peak_mb=round(most["workers"], 1),
        read_seconds=record["read_seconds"],
        stages=seed["durations"],
        epochs=len(seed["history"]),
    )
