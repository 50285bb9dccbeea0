"""One partition, one Prefect task run: its stages as Dask futures, its result a fork.

Prefect owns the retry and what the person sees, Dask owns placement: a worker that dies makes
this function raise, and the task run is tried again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from distributed import Client, Future, as_completed
from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.tasks import exponential_backoff

from models.extractor import Extractor
from models.options import DecodeOptions
from models.schema import MeldflowError
from storage.plan import PartitionPlan
from storage.write import Fork, Written
from tasks import stages
from tasks.stages import Encoded, Source

T = TypeVar("T")


class Extraction:
    """What the partitions of a run share.

    Not a dataclass on purpose: Prefect walks through those in search of futures.
    """

    def __init__(
        self,
        *,
        client: Client,
        fork: Fork,
        extractors: Sequence[Extractor],
        sources: Mapping[int, Source],
        partition_size: int,
        batch: int,
        device: str,
        clip_timeout: float,
        on_rows: Callable[[int], None],
    ) -> None:
        self.client = client
        self.fork = fork
        self.extractors = tuple(extractors)
        self.sources = sources
        self.partition_size = partition_size
        self.batch = batch
        self.device = device
        self.clip_timeout = clip_timeout
        self.on_rows = on_rows

    def on(self, role: str, stage: Callable[..., T], *arguments: object) -> Future[T]:
        """Runs a stage on a worker that offers ``role``, with futures among the arguments."""
        return self.client.submit(stage, *arguments, resources={role: 1}, pure=False)


def extract_partition(work: Extraction, part: PartitionPlan) -> Written:
    """Extracts everything stale in a partition on one decode of its clips.

    Raises:
        distributed.scheduler.KilledWorker: workers died over it, again and again.
    """
    batches: dict[Future[Encoded], int] = {}
    for extractors, rows in _decodes(work, part):
        batches |= _submit_batch(work, part, extractors, rows)
    for future in as_completed(batches):
        work.on_rows(batches[future])
    specs = [extractor.spec for extractor in work.extractors]
    written = work.on(
        "cpu", stages.write, work.fork, part.partition, list(batches), specs, work.partition_size
    )
    result: Written = written.result()
    return result


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


def _submit_batch(
    work: Extraction,
    part: PartitionPlan,
    extractors: Sequence[Extractor],
    rows: Sequence[int],
) -> dict[Future[Encoded], int]:
    """Future → rows it extracts. Submitted depth first: a batch is done before the next."""
    sources = [work.sources[row] for row in rows]
    modalities = {one.spec.modality for one in extractors}
    decoding = extractors[0].decoding
    loaded = work.on("cpu", stages.load_media, sources, modalities, decoding, work.clip_timeout)
    futures = {}
    for extractor in extractors:
        own = set(part.rows[extractor.spec.name])
        wanted = [source for source in sources if source.row in own]
        if wanted:
            role = extractor.spec.resource
            future = work.on(role, stages.encode, extractor, wanted, loaded, work.device)
            futures[future] = len(wanted)
    return futures


def _is_transient(_task: object, _run: TaskRun, state: State[Written]) -> bool:
    """Whether another try may help: not where we ourselves said what is wrong."""
    error = state.result(raise_on_failure=False)
    return not isinstance(error, MeldflowError)


partition_task = task(
    name="partition",
    task_run_name="partition-{part.partition:04d}",
    cache_policy=NO_CACHE,
    retries=3,
    retry_delay_seconds=exponential_backoff(2),
    retry_jitter_factor=0.5,
    retry_condition_fn=_is_transient,
)(extract_partition)
