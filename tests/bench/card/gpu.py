"""What a GPU does for an extraction, in one command that also runs without one.

Decoding and the networks alone, then whole extractions: on the CPU, which is the reference, and on
a GPU that all decoders of the machine feed. Where there is no GPU, a worker that runs the networks
alone on the CPU stands for it: nothing is said of speed then, but everything has been run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import Any

from meldflow.models.clips.decode import decode
from meldflow.models.clips.options import CPU
from meldflow.models.schema.media import Media
from meldflow.tasks.cluster.local import Local, visible_gpus
from tests.bench.card.decoding import Decoding, decoding
from tests.bench.card.networks import Rate, rates
from tests.bench.card.runs import Agreement, Extracted, Runs, agreement
from tests.bench.card.watch import name
from tests.bench.clips.material import Material, material
from tests.bench.running.system import server

BATCHES = {"cuda": (8, 64), "cpu": (2,)}
"""Device → clips that a network alone is given at once; a run's batch has eight by default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of extracting on a GPU."""

    run: Extracted
    agreement: Agreement
    """Of its first clips with the reference."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return self.run.to_json() | {"agreement": asdict(self.agreement)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What the bench found."""

    card: str
    """As its driver calls it; empty where the CPU stood for it."""
    workers: int
    """Without a GPU, beside the one with it."""
    clips: int
    """Distinct ones."""
    clip_seconds: float
    decoding: tuple[Decoding, ...]
    networks: tuple[Rate, ...]
    cpu: Extracted | None
    """The reference, unless it was brought."""
    ways: tuple[Way, ...]
    at_once: tuple[Extracted, ...]
    """Extractions that shared the GPU, as the last way."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {
            "cpu": self.cpu and self.cpu.to_json(),
            "ways": [one.to_json() for one in self.ways],
            "at_once": [one.to_json() for one in self.at_once],
        }


def gpu(
    directory: Path | None,
    say: Callable[[str], None],
    *,
    clips: int,
    utterances: int,
    precisions: Sequence[str],
    decoders: Sequence[str],
    reference: Path | None = None,
    weights: str = "random",
) -> Gpu:
    """Extracts the same clips with and without a GPU.

    Args:
        directory: see ``tests.bench.clips.material.material``.
        say: told what is being done.
        clips: how many distinct ones.
        utterances: how many an extraction on the GPU has, which take turns with the clips.
        precisions: what the networks compute in, one after another.
        decoders: what decodes the pictures, one after another.
        reference: a store that ``meldflow extract`` made of the clips on a CPU, in fp32; without
            it, they are extracted so here.
        weights: of the networks.

    Raises:
        UsageError: there are no clips, or the weights cannot be had.
        RunError: a process did not start, or an extraction failed.
    """
    device = "cuda" if visible_gpus() else "cpu"
    workers = Local(device=device).worker_count() if device == "cuda" else 1
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as named:
        folder = Path(named)
        several = material(directory, clips, folder, say)
        paths, numbers = [one.clip for one in several], sorted({1, workers})
        decoded = tuple(decoding(paths, decoders, numbers, say))
        alone = tuple(rates([_media(one) for one in several], BATCHES[device], device, say))
        with server(folder) as up:
            runs = Runs(up, several, weights, say)
            cpu = None
            if reference is None:
                with runs.on("cpu", workers, 0, "cpu"):
                    cpu, reference = runs.extract("cpu", "fp32", CPU, len(several), 2)
            ways = []
            with runs.on("gpu", workers, 1, device):
                for precision, decoder in product(precisions, decoders):
                    # What loads the networks is also what is compared.
                    _, store = runs.extract("gpu", precision, decoder, len(several), 2)
                    run, _ = runs.extract("gpu", precision, decoder, utterances)
                    ways.append(Way(run=run, agreement=agreement(store, reference)))
                both = runs.at_once("gpu", precisions[-1], decoders[-1], utterances // 2, 2)
    return Gpu(
        card=name(),
        workers=workers,
        clips=len(several),
        clip_seconds=round(sum(one.seconds for one in several) / len(several), 3),
        decoding=decoded,
        networks=alone,
        cpu=cpu,
        ways=tuple(ways),
        at_once=tuple(both),
    )


def _media(one: Material) -> Media:
    decoded = decode(one.clip)
    return Media(audio=decoded.audio, video=decoded.video, text=one.text)
