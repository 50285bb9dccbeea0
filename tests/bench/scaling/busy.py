"""When workers were busy, from Dask's task stream."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from dask.utils import key_split

BATCH = 8
"""Clips per batch, as by default."""

BATCH_STAGE = "load_and_encode"
"""Name of the tasks that are batches, where every worker offers every role."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Busy:
    """When workers were busy; times are seconds since the epoch."""

    start: float
    """The first batch starts."""
    steady_stop: float
    """A worker has had its last batch, the first one to."""
    stop: float
    """The last partition is written."""
    slept: float
    """Seconds of sleep that the workers had behind them at ``steady_stop``, as ordered: of a batch
    under way, the share that had passed."""
    workers: int
    """How many had batches of clips."""
    fewest: int
    """Batches of clips that each of these had, at least."""

    @property
    def steady_seconds(self) -> float:
        """How long there was enough to do for everybody."""
        return self.steady_stop - self.start

    @classmethod
    def of(cls, stream: Iterable[Mapping[str, Any]], clip_pause: float, text_pause: float) -> Busy:
        """From Dask's task stream.

        Args:
            stream: the tasks of an extraction, whose partitions are whole batches.
            clip_pause: seconds that a batch of clips takes, per utterance.
            text_pause: the same for the texts, which a partition has in one batch, its last.
        """
        spans: dict[str, dict[int, _Span]] = defaultdict(dict)
        stop = 0.0
        for task in stream:
            (computed,) = (one for one in task["startstops"] if one["action"] == "compute")
            stop = max(stop, computed["stop"])
            if key_split(task["key"]) == BATCH_STAGE:
                partition, _, number = task["key"].rpartition("-")
                span = _Span(task["worker"], computed["start"], computed["stop"])
                spans[partition][int(number)] = span
        ordered = [(span, BATCH * clip_pause) for span in _clip_batches(spans)]
        ordered += [
            (batches[max(batches)], BATCH * (len(batches) - 1) * text_pause)
            for batches in spans.values()
        ]
        last: dict[str, float] = defaultdict(float)
        had: Counter[str] = Counter()
        for span in _clip_batches(spans):
            last[span.worker] = max(last[span.worker], span.stop)
            had[span.worker] += 1
        steady_stop = min(last.values())
        return cls(
            start=min(span.start for span, _ in ordered),
            steady_stop=steady_stop,
            stop=stop,
            slept=sum(pause * span.share_before(steady_stop) for span, pause in ordered),
            workers=len(had),
            fewest=min(had.values()),
        )


class _Span(NamedTuple):
    """When a worker was at a batch."""

    worker: str
    start: float
    stop: float

    def share_before(self, moment: float) -> float:
        """How much of it lies before a moment, within [0, 1]."""
        passed = (moment - self.start) / (self.stop - self.start)
        return min(1.0, max(0.0, passed))


def _clip_batches(spans: Mapping[str, Mapping[int, _Span]]) -> Iterator[_Span]:
    for batches in spans.values():
        yield from (span for number, span in batches.items() if number < max(batches))
