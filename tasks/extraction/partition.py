"""One partition, one Prefect task run: its stages as Dask futures, its result a fork.

Prefect owns the retry and what the person sees, Dask owns placement: what may pass makes this
function raise, and the task run is tried again. A batch that cost workers is encoded apart, clip by
clip, so that the guilty one is alone.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import TypeAlias, TypeVar

from distributed import Client, Future, as_completed
from distributed.scheduler import KilledWorker
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.context import TaskRunContext
from prefect.tasks import exponential_backoff

from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.errors import MeldflowError, RunError
from meldflow.storage.planning.plan import PartitionPlan
from meldflow.storage.writing.transaction import Run
from meldflow.tasks.cluster.connection import Cluster
from meldflow.tasks.cluster.environment import ROLES, resources
from meldflow.tasks.extraction import stages
from meldflow.tasks.extraction.apart import encode_apart
from meldflow.tasks.extraction.committing import source_of
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.hanging import HungError
from meldflow.tasks.extraction.payloads import (
    ClipBatch,
    Encoded,
    Portion,
    Portions,
    Stored,
    batches,
)
from meldflow.tasks.options import ExtractOptions

T = TypeVar("T")
CPU = ("cpu",)

RETRIES = 6
"""Tries after the first, 2, 4, 8, 16, 32 and 64 s apart, and up to half as much again: a store or
a network that is away for a minute costs no run."""

COSTLY = (KilledWorker, HungError, MemoryError)
"""What a batch ends in that has a clip too bad for a worker: it is encoded apart."""

ANSWER_SECONDS = 60
"""For what a client knows already; one that is being closed may never say it."""


class Extraction:
    """What the partitions of a run share.

    Not a dataclass on purpose: Prefect walks through those in search of futures.
    """

    def __init__(
        self,
        run: Run,
        options: ExtractOptions,
        extractors: Sequence[Extractor],
        cluster: Cluster,
        monitor: Monitor,
    ) -> None:
        """What the partitions of ``run`` share."""
        self.fork = run.fork()
        self.source = source_of(run.utterances)
        self.partition_size = run.partition
        self.options = options
        self.extractors = tuple(extractors)
        self.cluster = cluster
        self.monitor = monitor


Share: TypeAlias = "Future[list[Encoded]]"
"""What became of some portions of a batch; it stays on the workers until it is written."""


def extract_partition(work: Extraction, part: PartitionPlan) -> Stored:
    """Extracts everything stale in a partition on one decode of its clips.

    Raises:
        RunError: the run is over.
        TimeoutError: the partition took too long.
        Exception: whatever a stage ended in; another try may help.
    """
    tried = TaskRunContext.get()
    if tried is not None and tried.task_run.run_count > 1:
        work.monitor.retried(part.partition)
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
        work = self.work
        under_way = self._submit(
            list(batches(self.part, work.extractors, work.source, work.options.batch))
        )
        encoded: list[Share] = []
        timeout = work.options.partition_timeout
        with _cancelling(under_way):
            for share in as_completed(under_way, loop=self.client.loop, timeout=timeout):
                portions = under_way[share]
                encoded += self._settled(share, portions)
                rows = sum(len(one.sources) for one in portions)
                work.monitor.rows(self.part.partition, rows)
            return self._write(encoded)

    def _write(self, encoded: Sequence[Share]) -> Stored:
        work = self.work
        specs = [extractor.spec for extractor in work.extractors]
        arguments = (work.fork, self.part.partition, encoded, specs, work.partition_size)
        stored: Stored = self._on(CPU, stages.write, *arguments).result(
            work.options.partition_timeout
        )
        return stored

    def _on(self, roles: Collection[str], stage: Callable[..., T], *arguments: object) -> Future[T]:
        """Runs a stage on a worker that offers ``roles``, with futures among the arguments."""
        return self.client.submit(stage, *arguments, resources=resources(roles), pure=False)

    def _on_each(
        self, roles: Collection[str], stage: Callable[..., T], calls: Sequence[tuple[object, ...]]
    ) -> list[Future[T]]:
        """Runs a stage once for each of ``calls``, its arguments; all go out in one message."""
        if not calls:
            return []
        columns = zip(*calls, strict=True)
        return list(self.client.map(stage, *columns, resources=resources(roles), pure=False))

    def _submit(self, lots: Sequence[ClipBatch]) -> dict[Share, Portions]:
        """Submits all there is to do; a batch is done before the next, by Dask's priorities.

        Where every worker has every role, a batch is one task, and what was decoded never leaves
        the worker. Else it is decoded where the decoders are, and goes to the networks.
        """
        timeout = self.work.options.clip_timeout
        where = (self.work.cluster.device, timeout)
        if self.work.cluster.is_uniform:
            whole = [(one.sources, one.portions, one.decoding, *where) for one in lots]
            shares = self._on_each(ROLES, stages.load_and_encode, whole)
            return dict(zip(shares, (one.portions for one in lots), strict=True))
        loads = [(one.sources, one.modalities, one.decoding, timeout) for one in lots]
        loaded = self._on_each(CPU, stages.load_media, loads)
        under_way: dict[Share, Portions] = {}
        for role in ROLES:
            pairs = ((one.of(role), media) for one, media in zip(lots, loaded, strict=True))
            own = [(portions, media) for portions, media in pairs if portions]
            shares = self._on_each((role,), stages.encode, [(*one, *where) for one in own])
            under_way |= zip(shares, (portions for portions, _ in own), strict=True)
        return under_way

    def _settled(self, share: Share, portions: Portions) -> list[Share]:
        """The shares that a share ended as.

        Raises:
            Exception: what it ended in, where it cost no worker.
        """
        error = _error(share)
        if error is None:
            return [share]
        if not isinstance(error, COSTLY):
            raise error
        return [self._apart(one) for one in portions]

    def _apart(self, portion: Portion) -> Share:
        """Encodes clip by clip, where it can harm nobody."""
        self.work.monitor.encoded_apart()
        device, timeout = self.work.cluster.device, self.work.options.clip_timeout
        return self._on((portion.extractor.spec.resource,), encode_apart, portion, device, timeout)


def _error(share: Share) -> BaseException | None:
    """What a share ended in, None where it succeeded; waits for its end.

    A future whose scheduler is gone has no exception of its own: it is cancelled.
    """
    if share.done() and share.status == "finished":  # as most are: the client need not be asked
        return None
    error: BaseException | None = share.exception(timeout=ANSWER_SECONDS)
    if error is None and str(share.status) != "finished":
        return ConnectionError(f"the connection to the scheduler was lost ({share.status})")
    return error


@contextlib.contextmanager
def _cancelling(shares: Iterable[Share]) -> Iterator[None]:
    """Drops what a failed try still has on the cluster."""
    try:
        yield
    except BaseException:
        for share in shares:
            with contextlib.suppress(Exception):  # the connection may be gone
                share.release()  # not `cancel`, which waits for a client that is being closed
        raise


def _may_pass(_task: object, _run: TaskRun, state: State[Stored]) -> bool:
    """Whether another try may help: not where we ourselves said what is wrong."""
    return not isinstance(state.result(raise_on_failure=False), MeldflowError)


partition_task = task(
    name="partition",
    task_run_name="partition-{part.partition:04d}",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_delay_seconds=exponential_backoff(2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_may_pass,
)(extract_partition)
