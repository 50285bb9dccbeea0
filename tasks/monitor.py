"""What is known of a run while it goes on: how far it is, what failed, what was tried again.

The partitions tell it from their threads, the flow reads it. It only watches: nothing that goes
wrong here may cost the run.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping

from tasks.cluster import Cluster
from tasks.progress import progress
from tasks.stages import Stored


class Monitor:
    """Counts what happens in a run."""

    def __init__(self, planned: Mapping[str, int], advance: Callable[[int], None]) -> None:
        """Starts counting.

        Args:
            planned: extractor → rows to extract.
            advance: told of every number of features that were extracted.
        """
        self._lock = threading.Lock()
        self._advance = advance
        self.planned = dict(planned)
        self.extracted = 0
        """Features extracted; those of a partition that is tried again count once more."""
        self.retries: Counter[int] = Counter()
        """Partition → how often it was tried again."""
        self.halvings: Counter[int] = Counter()
        """Partition → batches that killed workers and were encoded apart."""
        self.partitions = 0
        """Partitions merged."""
        self.failures: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """Extractor → reason → rows merged without a feature."""
        self.seconds: defaultdict[str, float] = defaultdict(float)
        """Stage → seconds that workers spent on it."""

    def rows(self, number: int) -> None:
        """An extractor is done with so many rows."""
        with self._lock:
            self.extracted += number
        self._advance(number)

    def retried(self, partition: int) -> None:
        """A partition is tried again."""
        with self._lock:
            self.retries[partition] += 1

    def halved(self, partition: int, extractor: str, rows: int) -> None:
        """So many rows killed workers, or a child, and are encoded apart."""
        with self._lock:
            self.halvings[partition] += 1

    def merged(self, stored: Stored) -> None:
        """A partition is in the run's transaction."""
        with self._lock:
            self.partitions += 1
            for state in stored.written.states:
                self.failures[state.extractor].update(filter(None, state.columns["reason"]))
            for stage, seconds in stored.seconds.items():
                self.seconds[stage] += seconds


@contextlib.contextmanager
def monitoring(planned: Mapping[str, int], cluster: Cluster) -> Iterator[Monitor]:
    """A monitor whose progress the person sees."""
    with progress("extracting", sum(planned.values()), "features") as advance:
        yield Monitor(planned, advance)
