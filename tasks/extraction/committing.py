"""Around the partitions of an extraction: what goes in, what is committed, what is said."""

import gc
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from queue import Empty, SimpleQueue
from typing import Any

import numpy as np
from prefect.futures import PrefectFuture

from meldflow.models.running import hardware
from meldflow.models.schema.errors import MeldflowError, RunError
from meldflow.models.schema.utterances import utterance_id
from meldflow.storage.format.catalogue import KEY, CatalogueChange
from meldflow.storage.format.columns import ColumnTable
from meldflow.storage.format.run_table import now
from meldflow.storage.reading.plan import PartitionPlan
from meldflow.storage.writing.transaction import FailureRate, Run
from meldflow.tasks.extraction.counts import Effort, Monitor
from meldflow.tasks.extraction.failures import FailureLimit, alike, cause
from meldflow.tasks.extraction.payloads import Source, Sources, Stored
from meldflow.tasks.options import ExtractOptions

LOOK_SECONDS = 1.0
"""Between two looks at how many partitions there is room for, where none ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtractReport:
    """What an extraction did."""

    store: str
    snapshot: str
    """Id of the snapshot that ``main`` points to now."""
    resumed: bool
    """Whether it went on where a run that died had stopped."""
    utterances: int
    """Utterances with something to extract."""
    catalogue: CatalogueChange
    extracted: Mapping[str, int]
    """Extractor → rows that got their feature; only extractors that tried some."""
    failures: tuple[FailureRate, ...]
    """By extractor; in both, rows written before the run was resumed count as well."""
    random_weights: tuple[str, ...]
    """Extractors whose networks have random weights."""
    findings: Mapping[str, int]
    """Kind → what the intake found amiss in the data set."""
    left_out: tuple[str, ...]
    """What no utterance was made of in a folder of clips, and why."""
    effort: Effort
    """Seconds per stage, retries, bytes."""
    seconds: float


def origin(options: ExtractOptions) -> dict[str, Any]:
    """What a run is, for the store to keep; what it runs on is known once there are workers."""
    return {
        "started": now(),  # a run begins before it has found out what there is to do
        "options": options.model_dump(mode="json"),
        "versions": hardware.describe_versions(hardware.EXTRACTION_PACKAGES),
    }


def sources_of(utterances: ColumnTable) -> Sources:
    """What workers need of rows; read when it is asked for, since there may be a million."""

    def sources(rows: Sequence[int]) -> tuple[Source, ...]:
        names, asked = (*KEY, "clip_path", "text", "clip_sha"), np.array(rows, dtype=np.int64)
        cells = (utterances.at(name, asked).tolist() for name in names)
        return tuple(
            Source(row=row, id=utterance_id(*key), clip=clip, text=text, sha256=bytes(sha))
            for row, *key, clip, text, sha in zip(rows, *cells, strict=True)
        )

    return sources


def run_partitions(
    run: Run,
    partitions: Iterable[PartitionPlan],
    submit: Callable[[PartitionPlan], PrefectFuture[Any]],
    *,
    width: Callable[[], int],
    monitor: Monitor,
    limit: FailureLimit,
) -> None:
    """Keeps ``width`` partitions under way, and merges them in the order in which they end.

    What was merged is never lost. Partitions wait here, not in the scheduler: a corpus of a
    million utterances takes no more of its memory than a small one.

    Raises:
        RunError: partitions failed for good, two after another in the same way, or it is certain
            that too many rows fail. The others are committed on the run's branch.
        MeldflowError: what a partition ended in, where no partition can do better.
    """
    ended: SimpleQueue[PrefectFuture[Any]] = SimpleQueue()
    waiting, live, lost, last = iter(partitions), 0, list[str](), ""
    limit.check(monitor.failures)
    hardware.release_memory()
    gc.freeze()  # so that what task runs leave behind, in cycles, is quickly found
    try:
        while True:
            # One that waits for its next try leaves its place to another, up to as many again.
            room = width() + min(width(), monitor.waiting) - live
            for part in islice(waiting, max(0, room)):
                submit(part).add_done_callback(ended.put)
                live += 1
            if not live:
                break
            if (partition := _next(ended, run)) is None:
                continue
            live, result = live - 1, partition.result(raise_on_failure=False)
            if isinstance(result, Stored):
                run.merge(result.written)
                if run.commit_within is None:
                    hardware.release_memory()
                monitor.merged(result)
                limit.check(monitor.failures)
                last = ""
            elif isinstance(result, MeldflowError):
                raise result  # the other partitions would end in the same way
            else:
                lost.append(cause(result))
                if alike(lost[-1], last):
                    break  # whatever comes next would end so, too
                last = lost[-1]
    finally:
        gc.unfreeze()
        run.commit()
    if lost:
        raise RunError(
            f"{len(lost)} partitions failed ({lost[-1]}); the others are kept, and the same "
            "command goes on from there"
        )


def _next(ended: SimpleQueue[PrefectFuture[Any]], run: Run) -> PrefectFuture[Any] | None:
    """The next partition that ended; None if none does for a while.

    What was merged does not wait for a slow one to be committed.
    """
    try:
        return ended.get(timeout=LOOK_SECONDS)
    except Empty:
        if run.commit_within == 0:
            run.commit()
        return None
