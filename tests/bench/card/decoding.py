"""Decoding alone, as workers do it: children that each decode one clip after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import psutil

from meldflow.models.clips.options import DecodeOptions
from meldflow.tasks.isolated.decoder import Decoder
from tests.bench.card.watch import watched

SECONDS = 4.0
"""How long they decode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """So many processes that decode sound and pictures."""

    decoder: str
    processes: int
    clips_per_second: float
    cpu_seconds_per_clip: float
    """Of the processes that decode."""
    engines: float | None
    """Share of the time in which the card's decoders were busy, within [0, 1]."""


def decoding(
    clips: Sequence[Path],
    decoders: Sequence[str],
    processes: Sequence[int],
    say: Callable[[str], None],
) -> Iterator[Decoding]:
    """Every decoder in every number of processes, on clips that take turns."""
    for decoder in decoders:
        for number in processes:
            say(f"{number} processes decode by {decoder}")
            yield _decoding(clips, decoder, number)


def _decoding(clips: Sequence[Path], decoder: str, processes: int) -> Decoding:
    options, turn = DecodeOptions(decoder=decoder), count()
    children = [Decoder() for _ in range(processes)]

    def decode(child: Decoder) -> None:
        clip = clips[next(turn) % len(clips)]
        child.decode(str(clip), options, audio=True, video=True)

    def until(child: Decoder, end: float) -> int:
        done = 0
        while time.monotonic() < end:
            decode(child)
            done += 1
        return done

    with ThreadPoolExecutor(processes) as pool:
        try:
            list(pool.map(decode, children))  # what each needs once
            busy, began = _cpu_seconds(children), time.monotonic()
            with watched() as card:
                done = sum(pool.map(lambda one: until(one, began + SECONDS), children))
            seconds, busy = time.monotonic() - began, _cpu_seconds(children) - busy
        finally:
            for child in children:
                child.close()
    return Decoding(
        decoder=decoder,
        processes=processes,
        clips_per_second=round(done / seconds, 2),
        cpu_seconds_per_clip=round(busy / done, 4),
        engines=card.to_json()["decoders"],
    )


def _cpu_seconds(children: Sequence[Decoder]) -> float:
    times = [psutil.Process(one.pid).cpu_times() for one in children if one.pid]
    return float(sum(one.user + one.system for one in times))
