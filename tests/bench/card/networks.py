"""The networks alone: how many clips a second each of them takes on a device, and how much memory.

torch is imported late, as everywhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.running.computing import PRECISIONS, Computing, cpu_precisions
from meldflow.models.running.hardware import release_memory
from meldflow.models.schema.media import Media

SECONDS = 0.7
"""How long a network is given clips."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """A network by torch, on batches as a worker gets them."""

    extractor: str
    precision: str
    clips_per_second: float
    batch: int
    """Clips that it is given at once."""
    load_seconds: float
    first_seconds: float
    """The first batch, which loads kernels."""
    peak_mb: float | None
    """Of the GPU's memory that torch took, MB of 2^20 bytes; None on a CPU."""


def rates(
    media: Sequence[Media], batches: Sequence[int], device: str, say: Callable[[str], None]
) -> Iterator[Rate]:
    """Every network in every precision, with batches of so many clips.

    Args:
        media: clips to take turns.
        batches: how many at once, one after another.
        device: ``cpu`` or ``cuda``.
        say: told what is being done.
    """
    known = PRECISIONS if device != "cpu" else cpu_precisions()
    for plain in registry.build(None, {}, "random"):
        if plain.spec.resource != "model":
            continue
        for precision in known if plain.computing else ("fp32",):
            computing = plain.computing and Computing(precision=precision)
            say(f"{plain.spec.name} in {precision}")
            yield from _rates(replace(plain, computing=computing), media, batches, device)


def _rates(
    extractor: Extractor, media: Sequence[Media], batches: Sequence[int], device: str
) -> Iterator[Rate]:
    started = time.perf_counter()
    ready = extractor.setup(device)
    loaded = time.perf_counter()
    for batch in batches:
        given = [media[n % len(media)] for n in range(batch)]
        _reset(device)
        began = time.perf_counter()
        ready.extract(given)
        first = time.perf_counter() - began
        done, began = 0, time.perf_counter()
        while done == 0 or time.perf_counter() - began < SECONDS:
            ready.extract(given)
            done += batch
        yield Rate(
            extractor=extractor.spec.name,
            precision=extractor.computing.precision if extractor.computing else "fp32",
            clips_per_second=round(done / (time.perf_counter() - began), 2),
            batch=batch,
            load_seconds=round(loaded - started, 2),
            first_seconds=round(first, 2),
            peak_mb=_peak_mb(device),
        )
    del ready
    release_memory()


def _reset(device: str) -> None:
    import torch

    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()


def _peak_mb(device: str) -> float | None:
    import torch

    return None if device == "cpu" else round(torch.cuda.max_memory_allocated() / 2**20, 1)
