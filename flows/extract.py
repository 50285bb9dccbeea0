"""The flow `extract`: whatever is stale in a store is extracted, committed, published."""

import time
from collections import Counter
from functools import partial
from typing import Any

from prefect import flow, get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from meldflow.flows.serving.names import run_name
from meldflow.models.extractors.registry import packages
from meldflow.models.running import hardware
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.cluster.connection import MAX_WIDTH, open_cluster
from meldflow.tasks.cluster.messages import worker_logs
from meldflow.tasks.cluster.profile import load_profile
from meldflow.tasks.cluster.versions import describe_workers
from meldflow.tasks.extraction.committing import ExtractReport, origin, run_partitions
from meldflow.tasks.extraction.failures import FailureLimit, check_failures
from meldflow.tasks.extraction.inputs import known_clips, wanted_extractors, wanted_utterances
from meldflow.tasks.extraction.partition import Extraction, partition_task
from meldflow.tasks.options import ExtractOptions
from meldflow.tasks.training.start import training_after
from meldflow.tasks.watching.watch import watching

# A thread per partition under way; how many there are is the cluster's to say.
RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=MAX_WIDTH)


@flow(
    name="extract",
    flow_run_name=run_name,
    task_runner=RUNNER,  # type: ignore[arg-type]  # its future type is invariant
)
def extract(options: ExtractOptions) -> ExtractReport:
    """Plan → fan partitions out over Dask → commit → publish → (if asked) start `train`.

    Raises:
        UsageError: the data set, the store, the weights or the cluster cannot be used.
        RunError: partitions were lost, or too many rows failed; ``main`` has not moved.
    """
    logger, started = get_run_logger(), time.monotonic()
    hardware.share_arena()
    about, profile = origin(options), load_profile(options.cluster)
    extractors = wanted_extractors(options)
    specs = [extractor.spec for extractor in extractors]
    intake = wanted_utterances(options, known_clips(options.store))
    follow, limit = training_after(options), options.max_failure_rate
    with (
        open_run(
            options.store,
            specs,
            partition=options.partition,
            origin=about,
            wait=options.wait,
            say=logger.info,
        ) as run,
        watching(run, specs, about) as watch,
    ):
        change = run.sync(intake.utterances)
        findings, left_out = Counter(one.kind.value for one in intake.findings), intake.left_out
        del intake  # the store has them now, in a tenth of the memory
        plan = run.plan(retry=options.retry)
        logger.info("catalogue: %s; stale: %s", change, plan.stale() or "nothing")
        if plan.partitions:
            with (
                open_cluster(profile, packages([one.name for one in specs])) as cluster,
                worker_logs(cluster),
                watch.extracting(plan, cluster) as monitor,
            ):
                logger.info("dask dashboard: %s", cluster.dashboard)
                run.entry.note("workers", cluster.ask(describe_workers))
                work = Extraction(run, options, extractors, cluster, monitor)
                run_partitions(
                    run,
                    plan.partitions,
                    partial(partition_task.submit, work),
                    width=cluster.width,
                    monitor=monitor,
                    limit=FailureLimit(limit, run.failure_rates(besides=plan), plan.stale()),
                )
        rates = run.failure_rates()
        check_failures(rates, limit)
        snapshot = watch.snapshot = run.publish()
        logger.info("published snapshot %s", snapshot)
    follow(snapshot)
    return ExtractReport(
        store=options.store,
        snapshot=snapshot,
        resumed=run.resumed,
        utterances=plan.n_utterances,
        catalogue=change,
        extracted={one.extractor: one.extracted for one in rates if one.tried},
        failures=tuple(rates),
        random_weights=run.random_weights,
        findings=dict(findings),
        left_out=left_out,
        effort=watch.effort,
        seconds=round(time.monotonic() - started, 1),
    )
