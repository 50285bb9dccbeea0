"""How right pitch is, by method and kind of sound."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from meldflow.models.clips.decode import decode
from meldflow.models.extractors.grid import FRAME, HOP, frames_in
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing
from tests.bench.pitch.contours import Agreement, Contour, agreement
from tests.bench.pitch.methods import METHODS, RATE
from tests.bench.pitch.sounds import Heard, made

REFERENCE_SUFFIX = ".f0ref"
"""A file of this name beside a sound holds its true f0: a number per line, 0 where unvoiced."""
REFERENCE_SECONDS = 0.015
"""From one of its lines to the next; the first is of the sound's first sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A method on sounds of a kind, against what is taken for right."""

    name: str
    against: Agreement

    def to_json(self) -> dict[str, Any]:
        """Shares in percent; of nothing, null."""
        one = self.against
        shares = {
            f"{name} %": 100 * getattr(one, name)
            for name in ("voicing", "missed", "invented", "gross")
        }
        return {
            "name": self.name,
            "frames": one.frames,
            **{name: _rounded(value, 1) for name, value in shares.items()},
            "cents": _rounded(one.cents, 1),
            "mean f0": _rounded(one.mean, 2),
        }


@dataclass(slots=True)
class Pitch:
    """What the bench found."""

    rows: list[Row]
    contours: list[dict[str, Any]]
    """Of every real sound, what each method's f0 is like."""
    cpu_seconds: dict[str, float]
    seconds: float
    """Of all sounds."""

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "pitch": [row.to_json() for row in self.rows],
            "contours": self.contours,
            "cpu_ms_per_second": {
                name: {"ms": _rounded(1000 * spent / self.seconds, 1)}
                for name, spent in self.cpu_seconds.items()
            },
        }


def pitch(places: Sequence[Path], say: Callable[[str], None]) -> Pitch:
    """Runs all methods on made sounds and on those of the places.

    Args:
        places: files, or folders of files, with real speech.
        say: told what is being done.

    Raises:
        UsageError: a place is not there, or holds nothing that can be heard.
    """
    real = list(_real(places))
    say("compiling")
    warm = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)
    for method in METHODS.values():
        method(warm)
    found = Pitch(rows=[], contours=[], cpu_seconds=dict.fromkeys(METHODS, 0.0), seconds=0.0)
    for name, sounds in made():
        say(name)
        _judge(found, name, sounds)
    for name, sounds in real:
        say(name)
        _judge(found, name, sounds)
    return found


def _judge(found: Pitch, name: str, sounds: Sequence[Heard]) -> None:
    contours = {method: _run(found, method, sounds) for method in METHODS}
    judged = np.concatenate([one.judged for one in sounds])
    found.seconds += sum(one.samples.size for one in sounds) / RATE
    truths = [one.truth for one in sounds if one.truth is not None]
    if truths:
        pairs = [(method, "truth", np.concatenate(truths)) for method in METHODS]
    else:
        pairs = [(one, other, contours[other]) for one, other in combinations(METHODS, 2)]
        found.contours.extend(_like(name, method, one) for method, one in contours.items())
    found.rows.extend(
        Row(name=f"{name}: {one} / {other}", against=agreement(contours[one], reference, judged))
        for one, other, reference in pairs
    )


def _run(found: Pitch, method: str, sounds: Sequence[Heard]) -> Contour:
    started = time.process_time()
    contours = [METHODS[method](one.samples) for one in sounds]
    found.cpu_seconds[method] += time.process_time() - started
    return np.concatenate(contours)


def _like(name: str, method: str, contour: Contour) -> dict[str, Any]:
    """Mean, deviation and maximum of f0."""
    voiced = contour[~np.isnan(contour)]
    mean, std, most = (
        (voiced.mean(), voiced.std(), voiced.max()) if voiced.size else 3 * (math.nan,)
    )
    return {
        "name": f"{name}: {method}",
        "voiced %": _rounded(100 * voiced.size / contour.size, 1),
        "mean": _rounded(float(mean), 1),
        "std": _rounded(float(std), 1),
        "max": _rounded(float(most), 1),
    }


def _real(places: Sequence[Path]) -> Iterator[tuple[str, list[Heard]]]:
    """A kind per file of unknown pitch, and one per folder for those with a reference."""
    for place in places:
        if not place.exists():
            raise UsageError(f"pitch {place}: is not there")
        files = sorted(place.iterdir()) if place.is_dir() else [place]
        known: list[Heard] = []
        count = 0
        for file in files:
            if file.suffix == REFERENCE_SUFFIX or not file.is_file():
                continue
            audio = decode(file, video=False).audio
            if isinstance(audio, Missing) or audio.samples.size < RATE // 4:
                continue
            count += 1
            reference = file.with_suffix(REFERENCE_SUFFIX)
            if reference.is_file():
                known.append(_referenced(audio.samples, np.loadtxt(reference)))
                continue
            everything = np.ones(frames_in(audio.samples.size), np.bool_)
            yield file.name, [Heard(samples=audio.samples, judged=everything)]
        if not count:
            raise UsageError(f"pitch {place}: nothing there can be heard")
        if known:
            yield f"{place.name} ({len(known)} sentences)", known


def _referenced(samples: Any, reference: Contour) -> Heard:
    """With a reference's f0 in the middle of each frame, judged where its neighbours agree."""
    seconds = (FRAME / 2 + HOP * np.arange(frames_in(samples.size))) / RATE
    place = (seconds / REFERENCE_SECONDS).clip(0, len(reference) - 1.001)
    before = place.astype(int)
    left, right = reference[before], reference[before + 1]
    voiced = (left > 0) & (right > 0)
    between = left + (place - before) * (right - left)
    return Heard(
        samples=samples,
        truth=np.where(voiced, between, np.nan),
        judged=voiced | ((left == 0) & (right == 0)),
    )


def _rounded(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else round(value, digits)
