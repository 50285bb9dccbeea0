"""Whole extractions: on a GPU that all decoders of the machine feed, alone and two at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meldflow.storage import open_store
from tests.bench.agreement.precision import Deviation, deviation, unmasked
from tests.bench.card.watch import Usage, watched
from tests.bench.clips.corpora import PARTITION, write_listed
from tests.bench.clips.material import Material
from tests.bench.running.system import System, cluster
from tests.bench.running.usage import cpu_seconds

COMPARED = {
    "audio/wav2vec2": "mean",
    "audio/librosa": "stats",
    "video/resnet50": "features",
    "text/minilm": "embedding",
}
"""Extractor → the array whose rows are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Extracted:
    """What an extraction took in its steady state, on warm workers."""

    precision: str
    decoder: str
    clips: int
    seconds: float
    cores: float
    """That all processes took on average."""
    stage_seconds: Mapping[str, float]
    """Stage → seconds of a worker per clip."""
    gpu: Mapping[str, float | None]

    @property
    def clips_per_second(self) -> float:
        """By the flow's own clock."""
        return self.clips / self.seconds

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"clips_per_second": round(self.clips_per_second, 2)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What one store has against another, which was extracted on the CPU."""

    same_frames: float
    """Share of the clips whose chosen frames are the same."""
    rows: Mapping[str, Deviation]


class Runs:
    """Extractions of the same clips into stores of their own."""

    def __init__(
        self, up: System, several: Sequence[Material], weights: str, say: Callable[[str], None]
    ) -> None:
        """On a server without workers."""
        self.up, self.several, self.weights, self.say = up, several, weights, say

    @contextmanager
    def on(self, name: str, workers: int, gpus: int, device: str) -> Iterator[None]:
        """With a cluster of that name inside the block."""
        self.say(f"{name}: starting {workers + gpus} workers")
        with cluster(self.up, workers, name=name, gpus=gpus, device=device):
            yield

    def extract(
        self, on: str, precision: str, decoder: str, utterances: int, partition: int = PARTITION
    ) -> tuple[Extracted, Path]:
        """One extraction of so many utterances, and its store."""
        self.say(f"{on}: {utterances:,} clips in {precision}, decoded by {decoder}")
        others = [one for name in ("server", "scheduler", "workers") for one in self._of(name)]
        before, began = cpu_seconds(others), time.monotonic()
        with watched() as gpu:
            done, told, store = self._run(on, precision, decoder, utterances, partition)
        spent = cpu_seconds(others) - before + done.cpu_seconds
        cores = spent / (time.monotonic() - began)
        found = _extracted(precision, decoder, utterances, told, cores, gpu)
        self.say(f"{on}: {found.clips_per_second:.2f} clips/s by {cores:.1f} cores, {found.gpu}")
        return found, store

    def at_once(
        self, on: str, precision: str, decoder: str, utterances: int, n: int
    ) -> list[Extracted]:
        """So many extractions at the same time, on the same workers."""
        self.say(f"{on}: {n} extractions at once")
        given = (on, precision, decoder, utterances, PARTITION)
        with watched() as gpu, ThreadPoolExecutor(n) as pool:
            runs = [pool.submit(self._run, *given) for _ in range(n)]
            found = [one.result() for one in runs]
        return [_extracted(precision, decoder, utterances, told, 0, gpu) for _, told, _ in found]

    def _of(self, name: str) -> Sequence[Any]:
        return self.up.processes.get(name, ())

    def _run(
        self, on: str, precision: str, decoder: str, utterances: int, partition: int
    ) -> tuple[Any, dict[str, Any], Path]:
        table = _new(self.up.folder)
        write_listed(table, self.several, utterances)
        options = {
            "weights": self.weights,
            "backend": "torch",
            "precision": precision,
            "decoder": decoder,
            "partition": str(partition),
        }
        given = [part for name, one in options.items() for part in (f"--{name}", one)]
        done, told = self.up.extract(table, utterances, given, on=on)
        return done, told, table.with_suffix(".store")


def agreement(found: Path, reference: Path) -> Agreement:
    """Compares the stores of the same utterances, row by row."""
    ours, theirs = open_store(str(found)), open_store(str(reference))
    one, other = (at.features("video/resnet50", "frame_index")[0] for at in (ours, theirs))
    rows = {}
    for extractor, array in COMPARED.items():
        (values, mask), (wanted, had) = (at.features(extractor, array) for at in (ours, theirs))
        if not np.array_equal(mask, had):
            raise AssertionError(f"{extractor}: other utterances have features")
        rows[extractor] = deviation(array, unmasked(values[mask]), unmasked(wanted[had]))
    return Agreement(same_frames=float((one == other).all(axis=1).mean()), rows=rows)


def _new(folder: Path) -> Path:
    """A table that is not there, made at once: several threads ask."""
    for number in range(1000):
        try:
            table = folder / f"corpus-{number}.csv"
            table.touch(exist_ok=False)
        except FileExistsError:
            continue
        return table
    raise AssertionError("a thousand extractions")


def _extracted(
    precision: str, decoder: str, utterances: int, told: Mapping[str, Any], cores: float, gpu: Usage
) -> Extracted:
    return Extracted(
        precision=precision,
        decoder=decoder,
        clips=utterances,
        seconds=told["seconds"],
        cores=round(cores, 2),
        stage_seconds={
            stage: round(seconds / utterances, 5)
            for stage, seconds in told["effort"]["seconds"].items()
        },
        gpu=gpu.to_json(),
    )
