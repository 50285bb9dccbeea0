"""One partition, one Prefect task run: its stages as Dask futures, its result a fork.

Prefect owns the retry and what the person sees, Dask owns placement: what may pass makes this
function raise, and the task run is tried again. A batch that cost workers is encoded apart, clip by
clip, so that the guilty one is alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from models.extractor import Extractor
from models.options import DecodeOptions
from models.schema import MeldflowError, RunError
from storage.plan import PartitionPlan
from storage.write import Fork
from tasks import stages
from tasks.cluster import Cluster
from tasks.monitor import Monitor
from tasks.stages import Encoded, HungError, Source, Stored

T = TypeVar("T")

RETRIES = 6
"""Tries after the first, 2, 4, 8, 16, 32 and 64 s apart, and up to half as much again: a store or
a network that is away for a minute costs no run."""

ANSWER_SECONDS = 60
"""For what a client knows already; one that is being closed may never say it."""

COSTLY = (KilledWorker, HungError, MemoryError)
"""What a batch ends in that has a clip too bad for a worker."""


class Extraction:
    """What the partitions of a run share.

    Not a dataclass on purpose: Prefect walks through those in search of futures.
    """

    def __init__(
        self,
        *,
        cluster: Cluster,
        fork: Fork,
        extractors: Sequence[Extractor],
        source: Callable[[int], Source],
        partition_size: int,
        batch: int,
        clip_timeout: float,
        partition_timeout: float,
        monitor: Monitor,
    ) -> None:
        self.cluster = cluster
        self.fork = fork
        self.extractors = tuple(extractors)
        self.source = source
        self.partition_size = partition_size
        self.batch = batch
        self.clip_timeout = clip_timeout
        self.partition_timeout = partition_timeout
        self.monitor = monitor


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Rows that one extractor encodes together."""

    extractor: Extractor
    sources: tuple[Source, ...]


def extract_partition(work: Extraction, part: PartitionPlan) -> Stored:
    """Extracts everything stale in a partition on one decode of its clips.

    Raises:
        RunError: the run is over.
        TimeoutError: the partition took too long.
        Exception: whatever a stage ended in; another try may help.
    """
    _note_retry(work, part)
    try:
        return _Attempt(work, part).run()
    except Exception as error:
        if work.cluster.closed:
            raise RunError("the run is over") from error
        raise


class _Attempt:
    """One try at a partition, on one connection to the cluster."""

    def __init__(self, work: Extraction, part: PartitionPlan) -> None:
        self.work = work
        self.part = part
        self.client: Client = work.cluster.client

    def run(self) -> Stored:
        """Load → encode → write; only the fork comes back."""
        batches: dict[Future[Encoded], Batch] = {}
        for extractors, rows in _decodes(self.work, self.part):
            batches |= self._submit(extractors, rows)
        encoded: list[Future[Encoded]] = []
        timeout = self.work.partition_timeout
        with _cancelling(batches):
            for future in as_completed(batches, loop=self.client.loop, timeout=timeout):
                encoded += self._settled(future, batches[future])
                self.work.monitor.rows(len(batches[future].sources))
            specs = [extractor.spec for extractor in self.work.extractors]
            written = self._on(
                "cpu",
                stages.write,
                self.work.fork,
                self.part.partition,
                encoded,
                specs,
                self.work.partition_size,
            )
            stored: Stored = written.result(timeout)
        return stored

    def _on(self, role: str, stage: Callable[..., T], *arguments: object) -> Future[T]:
        """Runs a stage on a worker that offers ``role``, with futures among the arguments."""
        return self.client.submit(stage, *arguments, resources={role: 1}, pure=False)

    def _submit(
        self, extractors: Sequence[Extractor], rows: Sequence[int]
    ) -> dict[Future[Encoded], Batch]:
        """Submits what shares a decode, depth first: a batch is done before the next."""
        work = self.work
        sources = [work.source(row) for row in rows]
        modalities = {one.spec.modality for one in extractors}
        loaded = self._on(
            "cpu", stages.load_media, sources, modalities, extractors[0].decoding, work.clip_timeout
        )
        futures = {}
        for extractor in extractors:
            own = set(self.part.rows[extractor.spec.name])
            wanted = tuple(source for source in sources if source.row in own)
            if wanted:
                future = self._on(
                    extractor.spec.resource,
                    stages.encode,
                    extractor,
                    wanted,
                    loaded,
                    work.cluster.device,
                    work.clip_timeout,
                )
                futures[future] = Batch(extractor=extractor, sources=wanted)
        return futures

    def _settled(self, future: Future[Encoded], batch: Batch) -> list[Future[Encoded]]:
        """Results of a batch that ended, however it did.

        Raises:
            Exception: what it ended in, where it cost no worker.
        """
        if future.status == "finished":
            return [future]
        error = future.exception(timeout=ANSWER_SECONDS)
        if not isinstance(error, COSTLY):
            raise error
        return [self._apart(batch)]

    def _apart(self, batch: Batch) -> Future[Encoded]:
        """Encodes a batch one by one, where it can harm nobody."""
        self.work.monitor.halved(self.part.partition, batch.extractor.spec.name, len(batch.sources))
        return self._on(
            batch.extractor.spec.resource,
            stages.encode_apart,
            batch.extractor,
            batch.sources,
            self.work.cluster.device,
            self.work.clip_timeout,
        )


@contextlib.contextmanager
def _cancelling(futures: dict[Future[Encoded], Batch]) -> Iterator[None]:
    """Drops what a failed try still has on the cluster.

    By release, which waits for nobody: `cancel` waits for ever for a client that is being closed.
    """
    try:
        yield
    except BaseException:
        for future in futures:
            with contextlib.suppress(Exception):  # the connection may be gone
                future.release()
        raise


def _note_retry(work: Extraction, part: PartitionPlan) -> None:
    context = TaskRunContext.get()
    if context is not None and context.task_run.run_count > 1:
        work.monitor.retried(part.partition)


def _decodes(
    work: Extraction, part: PartitionPlan
) -> Iterator[tuple[list[Extractor], tuple[int, ...]]]:
    """Which extractors share a decode of which rows.

    Clips come in batches, so that their frames stay few in memory; texts are small and go
    through the encoder in one batch.
    """
    sharing: dict[DecodeOptions | None, list[Extractor]] = {}
    for extractor in work.extractors:
        if extractor.spec.name in part.rows:
            sharing.setdefault(extractor.decoding, []).append(extractor)
    for options, extractors in sharing.items():
        rows = sorted({row for one in extractors for row in part.rows[one.spec.name]})
        size = len(rows) if options is None else work.batch
        for first in range(0, len(rows), size):
            yield extractors, tuple(rows[first : first + size])


def _is_transient(_task: object, _run: TaskRun, state: State[Stored]) -> bool:
    """Whether another try may help: not where we ourselves said what is wrong."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, MeldflowError)


partition_task = task(
    name="partition",
    task_run_name="partition-{part.partition:04d}",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_is_transient,
)(extract_partition)
