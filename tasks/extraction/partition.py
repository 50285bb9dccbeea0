"""One partition, one Prefect task run: its stages as Dask futures, its result a fork.

Prefect owns the retry and what the person sees, Dask owns placement: what may pass makes this
function raise, and the task run is tried again, from what is done. A batch that cost workers is
encoded apart, clip by clip, so that the guilty one is alone.
"""

import contextlib
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple, TypeAlias, TypeVar

from distributed import Client, Future
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run
from prefect.states import Cancelled

from meldflow.models.extractors.contract import Extractor
from meldflow.storage.reading.plan import PartitionPlan
from meldflow.storage.writing.transaction import Run
from meldflow.tasks.cluster.connection import Cluster
from meldflow.tasks.cluster.environment import ROLES, resources
from meldflow.tasks.extraction import stages
from meldflow.tasks.extraction.apart import encode_apart
from meldflow.tasks.extraction.committing import sources_of
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.failures import COSTLY, RETRIES, cause, pause, retries
from meldflow.tasks.extraction.hanging import is_stuck
from meldflow.tasks.extraction.payloads import ClipBatch, Encoded, Stored, batches, task_mark
from meldflow.tasks.options import ExtractOptions

T = TypeVar("T")
CPU = ("cpu",)

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
        self.fork = run.fork()
        self.sources = sources_of(run.utterances)
        self.partition_size = run.partition
        self.run = run.branch
        self.options = options
        self.extractors = tuple(extractors)
        self.cluster = cluster
        self.monitor = monitor
        self.kept: dict[int, _Partition] = {}
        """What partitions that wait for their next try have on the cluster."""


Share: TypeAlias = "Future[list[Encoded]]"
"""What became of some portions of a batch; it stays on the workers until it is written."""


class _Piece(NamedTuple):
    """What a share is of."""

    batch: ClipBatch
    apart: bool = False
    """Whether it is encoded clip by clip, where it can harm nobody."""

    @property
    def rows(self) -> int:
        return sum(len(one.sources) for one in self.batch.portions)


def extract_partition(work: Extraction, part: PartitionPlan) -> Stored:
    """Extracts everything stale in a partition on one decode of its clips.

    Called once more, it goes on from what was done when it failed.

    Raises:
        RunError: the run is over, or an extractor does not load.
        TimeoutError: a batch took too long.
        Exception: whatever a stage ended in; another try may help, see ``failures.retries``.
    """
    own, client = work.kept.pop(part.partition, None), work.cluster.client
    if own is None or own.client is not client:
        if own is not None:
            own.drop()
        own = _Partition(work, part, client)
    try:
        stored = own.run()
    except Exception as error:
        work.kept[part.partition] = own
        if work.cluster.connected is not client:
            raise ConnectionError("the connection to the scheduler was lost") from error
        raise
    own.release()
    return stored


def try_partition(work: Extraction, part: PartitionPlan) -> Stored | State[Any]:
    """``extract_partition`` as Prefect runs it, which tells why it failed and waits for the next.

    Prefect's own wait could be ended by nothing.
    """
    number = task_run.run_count or 1
    try:
        return extract_partition(work, part)
    except Exception as error:
        if number > retries(error):
            if own := work.kept.pop(part.partition, None):
                own.drop()
        elif not work.cluster.closed:
            seconds = pause(number)
            with work.monitor.retrying(part.partition, cause(error), seconds):
                work.cluster.over.wait(seconds)
        if work.cluster.closed:
            return Cancelled(message="the run ended first")
        raise


class _Partition:
    """What a partition has on the cluster, by one connection; it outlives a try that failed."""

    def __init__(self, work: Extraction, part: PartitionPlan, client: Client) -> None:
        self.work = work
        self.part = part
        self.client = client
        self._mark = task_mark(work.run, part.partition)
        lots = batches(part, work.extractors, work.sources, work.options.batch)
        self._missing = [_Piece(one) for one in lots]
        self._under_way: dict[Share, _Piece] = {}
        self._encoded: dict[Share, _Piece] = {}
        self._ended: SimpleQueue[Future[Any]] = SimpleQueue()
        """What ended, in that order; some of it may have been given up meanwhile."""

    def run(self) -> Stored:
        """Load → encode → write; only the fork comes back."""
        lost = [one for one in self._encoded if one.status not in ("finished", "pending")]
        for share in lost:  # while it waited to be written
            self._missing.append(piece := self._encoded.pop(share))
            self.work.monitor.rows(-piece.rows)
        self._submit([one.batch for one in self._missing if not one.apart])
        self._apart(one.batch for one in self._missing if one.apart)
        self._missing = []
        while self._under_way:
            share = self._first(self._under_way)
            self._settle(share, self._under_way.pop(share))
        return self._write()

    def drop(self) -> None:
        """Gives up what was done of it."""
        self.work.monitor.rows(-sum(one.rows for one in self._encoded.values()))
        self.release()

    def release(self) -> None:
        """Leaves nothing on the cluster; whoever looks into an error may hold on to all this."""
        for share in (*self._under_way, *self._encoded):
            with contextlib.suppress(Exception):  # the connection may be gone
                share.release()  # not `cancel`, which waits for a client that is being closed

    def _settle(self, share: Share, piece: _Piece) -> None:
        """Keeps what a share gave.

        Raises:
            Exception: what it ended in, where it cost no worker.
        """
        error = error_of(share)
        if error is None:
            self._encoded[share] = piece
            self.work.monitor.rows(piece.rows)
        elif isinstance(error, COSTLY) and not piece.apart:
            self._apart([piece.batch])
        else:
            self._missing.append(piece)
            raise error

    def _first(self, shares: Collection[Future[Any]]) -> Any:
        """The first of these that ends.

        Raises:
            TimeoutError: it takes longer than it may; what waits behind others is not meant.
        """
        limit = self.work.options.partition_timeout
        while True:
            try:
                share = self._ended.get(timeout=limit)
            except Empty:
                if self.client.run_on_scheduler(is_stuck, self._mark, limit):
                    break
            else:
                if share in shares:
                    return share
        self._missing += self._under_way.values()
        for share in shares:
            share.release()
        self._under_way = {}
        raise TimeoutError(f"nothing of it was done in {limit:g} s")

    def _write(self) -> Stored:
        work = self.work
        specs = [extractor.spec for extractor in work.extractors]
        arguments = (work.fork, self.part.partition, [*self._encoded], specs, work.partition_size)
        (writing,) = self._on(CPU, stages.write, [arguments])
        writing.add_done_callback(self._ended.put)
        stored: Stored = self._first([writing]).result(ANSWER_SECONDS)
        return stored

    def _on(
        self, roles: Collection[str], stage: Callable[..., T], calls: Sequence[tuple[object, ...]]
    ) -> list[Future[T]]:
        """Runs a stage for each of ``calls``, its arguments, on workers that offer ``roles``.

        All go out in one message, with futures among the arguments.
        """
        if not calls:
            return []
        columns, key = zip(*calls, strict=True), f"{stage.__name__}-{self._mark}"
        where = resources(roles)
        return list(self.client.map(stage, *columns, key=key, resources=where, pure=False))

    def _add(self, shares: Iterable[tuple[Share, ClipBatch]], apart: bool = False) -> None:
        for share, batch in shares:
            self._under_way[share] = _Piece(batch, apart)
            share.add_done_callback(self._ended.put)

    def _submit(self, lots: Sequence[ClipBatch]) -> None:
        """Submits all there is to do; a batch is done before the next, by Dask's priorities.

        Where every worker has every role, a batch is one task, and what was decoded never leaves
        the worker. Else it is decoded where the decoders are, and goes to the networks.
        """
        timeout = self.work.options.clip_timeout
        where = (self.work.cluster.device, timeout)
        if self.work.cluster.is_uniform:
            whole = [(one.sources, one.portions, one.decoding, *where) for one in lots]
            shares = self._on(ROLES, stages.load_and_encode, whole)
            self._add(zip(shares, lots, strict=True))
            return
        loads = [(one.sources, one.modalities, one.decoding, timeout) for one in lots]
        loaded = self._on(CPU, stages.load_media, loads)
        for role in ROLES:
            pairs = zip(lots, loaded, strict=True)
            own = [(replace(one, portions=one.of(role)), media) for one, media in pairs]
            own = [(one, media) for one, media in own if one.portions]
            calls = [(one.portions, media, *where) for one, media in own]
            shares = self._on((role,), stages.encode, calls)
            self._add(zip(shares, (one for one, _ in own), strict=True))

    def _apart(self, costly: Iterable[ClipBatch]) -> None:
        """Encodes what cost workers clip by clip, where it can harm nobody."""
        device, timeout = self.work.cluster.device, self.work.options.clip_timeout
        for batch in costly:
            for portion in batch.portions:
                self.work.monitor.encoded_apart()
                role, call = (portion.extractor.spec.resource,), (portion, device, timeout)
                (share,) = self._on(role, encode_apart, [call])
                self._add([(share, replace(batch, portions=(portion,)))], apart=True)


def error_of(share: "Future[Any]") -> BaseException | None:
    """What a share that is done ended in, None where it succeeded.

    A future whose scheduler is gone has no exception of its own: it is cancelled.
    """
    if share.status == "finished":  # as most are: the client need not be asked
        return None
    error: BaseException | None = share.exception(timeout=ANSWER_SECONDS)
    return error or ConnectionError(f"the connection to the scheduler was lost ({share.status})")


def tries_again(_task: object, run: TaskRun, state: State[Any]) -> bool:
    """Whether another try may help."""
    return run.run_count <= retries(state.result(raise_on_failure=False))


partition_task = task(
    name="partition",
    task_run_name="partition-{part.partition:04d}",
    cache_policy=NO_CACHE,
    retries=RETRIES,
    retry_condition_fn=tries_again,
)(try_partition)
