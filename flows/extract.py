"""The flow `extract`: whatever is stale in a store is extracted, committed, published."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from prefect import flow, get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from storage import open_store
from storage.run import open_run
from tasks.cluster import describe_workers, open_cluster
from tasks.extraction import (
    ExtractReport,
    check_failures,
    commit_all,
    known_clips,
    origin,
    sources,
)
from tasks.inputs import wanted_extractors, wanted_utterances
from tasks.logs import worker_logs
from tasks.options import ExtractOptions
from tasks.partition import Extraction, partition_task
from tasks.progress import progress

# The width is the back-pressure: so many partitions are on the cluster at a time.
RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=(os.cpu_count() or 1) + 1)


@flow(
    name="extract",
    flow_run_name="extract-{options.store}",
    task_runner=RUNNER,  # type: ignore[arg-type]  # its future type is invariant
)
def extract(options: ExtractOptions) -> ExtractReport:
    """Plan → fan partitions out over Dask → commit → publish.

    Raises:
        UsageError: the data set, the store, the weights or the cluster cannot be used.
        RunError: partitions were lost, or too many rows failed; ``main`` has not moved.
    """
    logger, started = get_run_logger(), time.monotonic()
    extractors = wanted_extractors(options)
    specs = [extractor.spec for extractor in extractors]
    intake = wanted_utterances(options, known_clips(options.store))
    about = origin(options)
    with open_run(options.store, specs, partition=options.partition, origin=about) as run:
        change = run.sync(intake.utterances)
        plan = run.plan(retry=options.retry)
        logger.info("catalogue: %s; stale: %s", change, plan.stale() or "nothing")
        if plan.partitions:
            total = sum(plan.stale().values())
            with (
                open_cluster(options.cluster) as client,
                worker_logs(client),
                progress("extracting", total, "features") as advance,
            ):
                logger.info("dask dashboard: %s", client.dashboard_link)
                run.note("workers", describe_workers(client))
                work = Extraction(
                    client=client,
                    fork=run.fork(),
                    extractors=extractors,
                    sources=sources(run.utterances, plan),
                    partition_size=run.partition,
                    batch=options.batch,
                    device=options.cluster.device,
                    clip_timeout=options.clip_timeout,
                    on_rows=advance,
                )
                commit_all(run, [partition_task.submit(work, part) for part in plan.partitions])
        rates = run.failure_rates()
        check_failures(rates, options.max_failure_rate)
        snapshot = run.publish()
        logger.info("published snapshot %s", snapshot)
    return ExtractReport(
        store=options.store,
        snapshot=snapshot,
        resumed=run.resumed,
        utterances=plan.n_utterances,
        catalogue=change,
        extracted=plan.stale(),
        failures=tuple(rates),
        random_weights=open_store(options.store, snapshot).random_weights(),
        findings=dict(Counter(finding.kind.value for finding in intake.findings)),
        seconds=round(time.monotonic() - started, 1),
    )
