"""What is known of a run while it goes on: how far it is, what failed, what was tried again.

The partitions tell it from their threads, the flow and those who watch read it. It only watches:
nothing that goes wrong here may cost the run.
"""

import contextlib
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeVar

from meldflow.models.schema.media import Reason
from meldflow.storage.format.layout import FAILED
from meldflow.storage.reading.snapshot import FailedRow
from meldflow.tasks.extraction.payloads import Sources, Stored

K = TypeVar("K")
N = TypeVar("N", int, float)

KEEP_FAILED = 300
"""Failed rows that are kept with their message; beyond that they are only counted."""

FEW = 5
"""Partitions that a line names."""

PACE_SECONDS = 120.0
"""The rate is that of the last two minutes: the start, when weights load, tells little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a run took."""

    seconds: Mapping[str, float] = field(default_factory=dict)
    """``load``, extractor names and ``write`` → seconds of workers, over all utterances."""
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    """The same → CPU seconds of workers, without their children, which decode."""
    retries: int = 0
    """Of all partitions, by us or, where a worker was lost, by Dask."""
    retried: Mapping[int, int] = field(default_factory=dict)
    """Partition → how often it was tried again, or a part of it."""
    lost_workers: Mapping[str, int] = field(default_factory=dict)
    """Worker → how often it was lost."""
    apart: int = 0
    """Batches that killed workers and were encoded apart."""
    written_bytes: int = 0
    """What the chunks of features take in the store, compressed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is."""

    planned: int
    """Features to extract."""
    done: int
    """Features extracted; never more than planned."""
    partitions: int
    """Partitions in the run's transaction."""
    planned_partitions: int
    elapsed: float
    """Seconds since the first partition was submitted."""
    rate: float
    """Features per second, lately."""
    failed: int
    """Features that came out as failures."""
    effort: Effort

    @property
    def share(self) -> float:
        """Done among planned, within [0, 1]."""
        return self.done / self.planned if self.planned else 1.0

    @property
    def left(self) -> float | None:
        """Seconds until it is done, if it goes on like this; None while nobody can tell."""
        return (self.planned - self.done) / self.rate if self.rate > 0 else None


class Monitor:
    """Counts what happens in a run."""

    def __init__(
        self,
        planned: Mapping[str, int],
        advance: Callable[[int], None],
        *,
        partitions: int = 0,
        sources: Sources | None = None,
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        """Starts counting.

        Args:
            planned: extractor → rows to extract.
            advance: told of every number of features that were extracted; less than nothing when
                some are lost.
            partitions: how many there are to do.
            sources: what the person is told of rows; without it, failures are only counted.
            tell: told, in a line, what the person should not have to look for.
        """
        self._lock = threading.Lock()
        self._advance = advance
        self._sources = sources
        self._tell = tell
        self.started = time.monotonic()
        self._pace: deque[tuple[float, int]] = deque([(self.started, 0)])
        self.planned = dict(planned)
        self.planned_partitions = partitions
        self.extracted = 0
        """Features extracted."""
        self.waiting = 0
        """Partitions that wait for their next try."""
        self._effort = Effort()
        self.partitions = 0
        """Partitions merged."""
        self.merged_rows: Counter[str] = Counter()
        """Extractor → rows merged."""
        self.failures: Counter[tuple[str, str]] = Counter()
        """Extractor and reason → rows merged that failed."""
        self.failed: list[FailedRow] = []
        """The first of them."""

    def rows(self, number: int) -> None:
        """Extractors are done with so many rows more, or fewer where some were lost."""
        with self._lock:
            self.extracted += number
        self._advance(number)

    @contextlib.contextmanager
    def retrying(self, partition: int, cause: str, seconds: float) -> Iterator[None]:
        """A partition failed, and waits in the block for its next try."""
        with self._lock:
            self.waiting += 1
            self._tried_again([partition])
        self._tell(f"partition {partition} is tried again in {seconds:.0f} s: {cause}")
        try:
            yield
        finally:
            with self._lock:
                self.waiting -= 1

    def worker_lost(self, worker: str, why: str, tasks: Mapping[int, int]) -> None:
        """A worker is gone; ``tasks``: partition → how many of its tasks others have to do."""
        with self._lock:
            lost = _sum(self._effort.lost_workers, {worker: 1})
            self._effort = replace(self._effort, lost_workers=lost)
            self._tried_again(tasks)
        which = ", ".join(map(str, sorted(tasks)[:FEW])) + " and others" * (len(tasks) > FEW)
        given = f"tasks of partition {which} ({sum(tasks.values())})" if tasks else "nothing"
        self._tell(f"worker {worker} was lost ({why}); given to others: {given}")

    def encoded_apart(self) -> None:
        """A batch of an extractor killed workers and is encoded apart."""
        with self._lock:
            self._effort = replace(self._effort, apart=self._effort.apart + 1)

    def merged(self, stored: Stored) -> None:
        """A partition is in the run's transaction."""
        with self._lock:
            self.partitions += 1
            self._effort = replace(
                self._effort,
                seconds=_sum(self._effort.seconds, stored.seconds),
                cpu_seconds=_sum(self._effort.cpu_seconds, stored.cpu_seconds),
                written_bytes=self._effort.written_bytes + stored.written.n_bytes,
            )
            for update in stored.written.states:
                self.merged_rows[update.extractor] += len(update.rows)
                columns = (update.columns[name] for name in ("status", "reason", "message"))
                for row, status, reason, message in zip(update.rows, *columns, strict=True):
                    if status == FAILED:
                        self._failed(update.extractor, int(row), reason, message)

    def effort(self) -> Effort:
        """What it took so far."""
        return self._effort

    def progress(self) -> Progress:
        """How far it is, at what rate since it was asked two minutes ago."""
        with self._lock:
            now, done = time.monotonic(), self.extracted
            self._pace.append((now, done))
            while len(self._pace) > 2 and now - self._pace[1][0] > PACE_SECONDS:
                self._pace.popleft()
            since, before = self._pace[0]
            return Progress(
                planned=sum(self.planned.values()),
                done=min(done, sum(self.planned.values())),
                partitions=self.partitions,
                planned_partitions=self.planned_partitions,
                elapsed=now - self.started,
                rate=max(0.0, (done - before) / (now - since)) if now > since else 0.0,
                failed=self.failures.total(),
                effort=self._effort,
            )

    def totals(self) -> dict[tuple[str, tuple[str, ...]], float]:
        """Counter and labels → its value, by the names of ``tasks.watching.workers.COUNTERS``.

        All are there from the start: Prometheus sees no growth of a series that begins with it.
        """
        with self._lock:
            effort = self._effort
            values: dict[tuple[str, tuple[str, ...]], float] = {
                ("partitions", ("merged",)): self.partitions,
                ("partitions", ("retried",)): effort.retries,
                ("partitions", ("apart",)): effort.apart,
                ("lost_workers", ()): sum(effort.lost_workers.values()),
                ("written_bytes", ()): effort.written_bytes,
            }
            for extractor in self.planned:
                reasons = {one.value: self.failures[extractor, one.value] for one in Reason}
                failed = sum(reasons.values())
                values |= {("failures", (extractor, why)): n for why, n in reasons.items()}
                values["features", (extractor, "ok")] = self.merged_rows[extractor] - failed
                values["features", (extractor, "failed")] = failed
            for stage in ("load", *self.planned, "write"):
                values["stage_seconds", (stage,)] = effort.seconds.get(stage, 0.0)
        return values

    def failed_rows(self) -> tuple[dict[tuple[str, str], int], list[FailedRow]]:
        """Failures by extractor and reason, and the first of them."""
        with self._lock:
            return dict(self.failures.most_common()), list(self.failed)

    def _tried_again(self, partitions: Iterable[int]) -> None:
        retried = _sum(self._effort.retried, dict.fromkeys(partitions, 1))
        often = dict(Counter(retried).most_common())
        self._effort = replace(self._effort, retried=often, retries=sum(often.values()))

    def _failed(self, extractor: str, row: int, reason: str, message: str) -> None:
        self.failures[extractor, reason] += 1
        if self._sources is not None and len(self.failed) < KEEP_FAILED:
            (source,) = self._sources([row])
            self.failed.append(
                FailedRow(
                    id=source.id,
                    extractor=extractor,
                    reason=reason,
                    message=message,
                    clip=source.clip,
                )
            )


def _sum(one: Mapping[K, N], other: Mapping[K, N]) -> dict[K, N]:
    return {key: round(one.get(key, 0) + other.get(key, 0), 6) for key in {**one, **other}}
