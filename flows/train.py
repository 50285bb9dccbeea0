"""The flow `train`: one pinned snapshot becomes a judged model and a report."""

from typing import Any

from prefect import flow, get_run_logger
from prefect.task_runners import ThreadPoolTaskRunner

from meldflow.flows.serving.names import run_name
from meldflow.models.running.hardware import PACKAGES
from meldflow.storage import open_store
from meldflow.tasks.cluster.connection import MAX_WIDTH, open_cluster
from meldflow.tasks.cluster.messages import worker_logs
from meldflow.tasks.options import TrainOptions
from meldflow.tasks.training import steps
from meldflow.tasks.training.fits import Fits, fit_all, profile_for
from meldflow.tasks.training.table import outline
from meldflow.tasks.watching.training import show_training

# A thread per fit under way; how many there are is the cluster's to say.
RUNNER: ThreadPoolTaskRunner[Any] = ThreadPoolTaskRunner(max_workers=MAX_WIDTH)


@flow(
    name="train",
    flow_run_name=run_name,
    task_runner=RUNNER,  # type: ignore[arg-type]  # its future type is invariant
)
def train(options: TrainOptions) -> steps.TrainReport:
    """Pin a snapshot → fan the fits out over Dask → judge → write the report → MLflow.

    Raises:
        UsageError: the store, the snapshot, its rows or the cluster do not suffice.
        RunError: a fit failed for good; the same command goes on from what the others did.
    """
    logger = get_run_logger()
    steps.check_training(options)
    profile = profile_for(options)
    snapshot = open_store(options.store, options.snapshot)
    logger.info("training on snapshot %s of %s", snapshot.id, options.store)
    table = outline(snapshot, options.reads, options.modalities, options.target, options.extractors)
    planned = steps.plan_training(table, options)
    with open_cluster(profile, PACKAGES) as cluster, worker_logs(cluster):
        logger.info("dask dashboard: %s", cluster.dashboard)
        trained = fit_all(Fits(snapshot, planned, options, cluster))
    page = steps.report_task(trained, options)
    logger.info("report: %s", page)
    show_training(trained.result, page)
    tracking, untracked = steps.track_task(trained, page, options)
    amiss = (steps.keep(snapshot), untracked)
    return steps.TrainReport(result=trained.result, page=page, amiss=amiss, tracking=tracking)
