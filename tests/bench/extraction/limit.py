"""How near extraction comes to the least that this machine can do it with.

The floor of a clip is the time to decode it, as FFmpeg does on one thread, and the multiplications
and additions of the networks at the best rate that any kernel at hand reaches on one thread, in the
same precision, while the machine's other cores do the same: they share its memory. Nobody reaches
it: it leaves out choosing and scaling frames, resampling, librosa's descriptors, normalisation and
activations, the storage and all orchestration, and no network consists of its fastest kernel.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meldflow.models.schema.errors import RunError
from meldflow.tasks.cluster.environment import worker_environment
from tests.bench.clips.corpora import PARTITION
from tests.bench.clips.material import Material, material
from tests.bench.extraction.kernels import Rate
from tests.bench.extraction.stages import CLIPS, DECODE, Measured, Stages, measured
from tests.bench.running.precisions import precisions
from tests.bench.running.system import WORKERS

PUBLISHED_GMAC = 4.09
"""ResNet-50 on a picture of 224 x 224, as torchvision publishes it: 10^9 multiply-accumulates."""

FIXED = {"text/minilm": "fp32"}
"""Extractor whose precision cannot be chosen → what its network computes in."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """What a clip needs at least."""

    decode_ms: float
    """CPU milliseconds to decode it and do nothing else."""
    clip_seconds: float
    """Its length, by its sound."""
    gflop: Mapping[str, float]
    """Extractor → 10^9 multiplications and additions of its network."""
    resnet50_gmac_per_picture: float
    rates: tuple[Rate, ...]

    def best(self, precision: str) -> Rate:
        """The fastest kernel in a precision."""
        own = (rate for rate in self.rates if rate.precision == precision)
        return max(own, key=lambda rate: rate.gflop_per_second)

    def parts(self, precision: str) -> dict[str, float]:
        """``decode`` and extractors → CPU milliseconds per clip."""
        return {DECODE: self.decode_ms} | {
            name: 1000 * gflop / self.best(FIXED.get(name, precision)).gflop_per_second
            for name, gflop in self.gflop.items()
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Against:
    """What extraction took, and what it would need at least, CPU milliseconds per clip."""

    precision: str
    best: Rate
    floor: Mapping[str, float]
    ours: Mapping[str, float]
    """All parts of the run, the fixed cost spread over MELD."""

    @property
    def multiple(self) -> float:
        """Ours over the floor, the whole job."""
        return sum(self.ours.values()) / sum(self.floor.values())

    @property
    def multiples(self) -> dict[str, float | None]:
        """Part → ours over its floor; None where it has none."""
        return {
            part: spent / self.floor[part] if self.floor.get(part) else None
            for part, spent in self.ours.items()
        }

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "ours_ms": round(sum(self.ours.values()), 3),
            "floor_ms": round(sum(self.floor.values()), 3),
            "multiple": round(self.multiple, 3),
            "best": asdict(self.best),
            "parts": {
                part: {
                    "ours_ms": round(spent, 3),
                    "floor_ms": round(self.floor.get(part, 0.0), 3),
                    "multiple": None if multiple is None else round(multiple, 3),
                }
                for (part, spent), multiple in zip(
                    self.ours.items(), self.multiples.values(), strict=True
                )
            },
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """What the bench found."""

    job: Measured
    floor: Floor

    @property
    def against(self) -> tuple[Against, ...]:
        """By precision."""
        return tuple(self._against(run) for run in self.job.runs)

    def to_json(self) -> dict[str, Any]:
        """As JSON values; the stages of the same runs are among them."""
        return {
            "clips": self.job.clips,
            "clip_seconds": round(self.floor.clip_seconds, 3),
            "decode_ms": round(self.floor.decode_ms, 3),
            "gflop": {name: round(one, 3) for name, one in self.floor.gflop.items()},
            "resnet50_gmac_per_picture": round(self.floor.resnet50_gmac_per_picture, 4),
            "published_gmac_per_picture": PUBLISHED_GMAC,
            "precisions": {one.precision: one.to_json() for one in self.against},
            "rates": [asdict(rate) for rate in self.floor.rates],
            "stages": self.job.to_json(),
        }

    def _against(self, run: Stages) -> Against:
        return Against(
            precision=run.precision,
            best=self.floor.best(run.precision),
            floor=self.floor.parts(run.precision),
            ours=run.at_meld,
        )


def limit(
    directory: Path | None,
    say: Callable[[str], None],
    *,
    clips: int = CLIPS,
    asked: Sequence[str] = (),
    partition: int = PARTITION,
) -> Limit:
    """Extracts clips in each precision, and measures the floor of the same clips.

    Args:
        directory: see ``tests.bench.clips.material.material``.
        say: told what is being done.
        clips: how many distinct ones.
        asked: precisions; all that the processor has where there is none.
        partition: utterances per partition.

    Raises:
        UsageError: there are no clips, or a precision cannot be had.
        RunError: a process did not start, an extraction failed, or a clip cannot be decoded.
    """
    wanted = precisions(asked)
    with tempfile.TemporaryDirectory(prefix="meldflow-bench-") as named:
        several = material(directory, clips, Path(named), say)
        floor = floor_of(several, wanted, say)
        job = measured(several, wanted, Path(named), say, partition)
    return Limit(job=job, floor=floor)


def floor_of(
    several: Sequence[Material], wanted: Sequence[str], say: Callable[[str], None]
) -> Floor:
    """The floor of these clips: the mean of as many processes of one thread as there are workers.

    All at once, as the workers are: a core alone has the machine's memory to itself.

    Raises:
        RunError: one failed.
    """
    request = {
        "clips": [str(one.clip) for one in several],
        "texts": [one.text for one in several],
        "precisions": list(dict.fromkeys((*wanted, *FIXED.values()))),
    }
    with ThreadPoolExecutor(WORKERS) as pool:
        silent = [pool.submit(_measure, request, lambda _: None) for _ in range(WORKERS - 1)]
        found = [_measure(request, say), *(one.result() for one in silent)]
    rates = zip(*(one.pop("rates") for one in found), strict=True)
    first = found[0]
    return Floor(
        decode_ms=statistics.mean(one["decode_ms"] for one in found),
        clip_seconds=first["clip_seconds"],
        gflop=first["gflop"],
        resnet50_gmac_per_picture=first["resnet50_gmac_per_picture"],
        rates=tuple(map(_mean_rate, rates)),
    )


def _mean_rate(several: Sequence[Mapping[str, Any]]) -> Rate:
    speed = statistics.mean(one["gflop_per_second"] for one in several)
    return Rate(**{**several[0], "gflop_per_second": round(speed, 1)})


def _measure(request: Mapping[str, Any], say: Callable[[str], None]) -> dict[str, Any]:
    """What one process of ``tests.bench.extraction.floor`` finds.

    Raises:
        RunError: it failed.
    """
    found: dict[str, Any] = {}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", "tests.bench.extraction.floor"],
            env={**os.environ, **worker_environment(1)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as child,
    ):
        if child.stdin is None or child.stdout is None:
            raise AssertionError("both were asked for")
        with child.stdin as end:
            json.dump(request, end)
        for line in map(json.loads, child.stdout):
            if "doing" in line:
                say(f"floor: {line['doing']}")
            found = line.get("found", found)
        if child.wait() or not found:
            errors.seek(0)
            said = errors.read().strip().rpartition("\n")[2] or f"exit code {child.returncode}"
            raise RunError(f"bench: the floor could not be measured: {said}")
    return found
