"""What the usual script and meldflow took for the same clips, round by round."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

from meldflow.models.running.computing import PRECISIONS, choose
from tests.bench.running.system import WORKERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """One side's extraction of all clips."""

    clips: int
    seconds: float
    """Steady state."""
    cpu_seconds: float
    """Of all processes, in the steady state and until the server has recorded it."""
    peak_mb: float
    """The most memory that they held together."""
    worker_mb: float
    """The same of a worker with its decoder, on average; of the script where there is none."""
    loading_mb: float
    """The same while networks are loaded, which the script does for a second."""
    before_seconds: float
    """From the start of the process to the steady state."""
    steps: Mapping[str, float]
    """Step → seconds per clip, where the side tells."""

    @property
    def clips_per_second(self) -> float:
        """In steady state."""
        return self.clips / self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side's rounds."""

    rounds: tuple[Round, ...]

    @property
    def cold_seconds(self) -> float:
        """Until the steady state, at best: a later start finds files in the system's cache."""
        return min(one.before_seconds for one in self.rounds)

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "clips_per_second": spread([one.clips_per_second for one in self.rounds]),
            "cpu_seconds_per_clip": round(
                statistics.median(one.cpu_seconds / one.clips for one in self.rounds), 4
            ),
            "peak_mb": round(max(one.peak_mb for one in self.rounds), 1),
            "worker_mb": round(max(one.worker_mb for one in self.rounds), 1),
            "loading_mb": round(max(one.loading_mb for one in self.rounds), 1),
            "cold_seconds": round(self.cold_seconds, 2),
            "steps": {name: round(one, 4) for name, one in self.rounds[-1].steps.items()},
            "rounds": [asdict(one) for one in self.rounds],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What the bench found."""

    clips: int
    clip_seconds: float
    """Their mean length."""
    usual: Side
    """One round more than the others have: before each of theirs, and after the last."""
    meldflow: Mapping[str, Side]
    """By precision."""

    def ratios(self, precision: str) -> list[float]:
        """Clips per second over those of the usual script before and after, round by round."""
        around = pairwise(one.clips_per_second for one in self.usual.rounds)
        return [
            ours.clips_per_second / statistics.mean(theirs)
            for ours, theirs in zip(self.meldflow[precision].rounds, around, strict=True)
        ]

    def to_json(self) -> dict[str, Any]:
        """As JSON values; null for what this processor has no instructions for."""
        known = {name: None for name in PRECISIONS if name != "fp16"}
        return {
            "ratio": known | {name: spread(self.ratios(name)) for name in self.meldflow},
            "usual": self.usual.to_json(),
            "meldflow": known
            | {
                name: side.to_json() | asdict(choose("auto", name, "cpu", None))
                for name, side in self.meldflow.items()
            },
            "clips": self.clips,
            "clip_seconds": round(self.clip_seconds, 3),
            "workers": WORKERS,
        }


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and most."""
    return {
        "median": round(statistics.median(values), 4),
        "min": round(min(values), 4),
        "max": round(max(values), 4),
    }
