"""The flow `train`: one pinned snapshot becomes a judged model and a report."""

from prefect import flow, get_run_logger

from meldflow.flows.serving.names import run_name
from meldflow.storage import open_store
from meldflow.tasks.options import TrainOptions
from meldflow.tasks.training.steps import (
    TrainReport,
    check_training,
    fit_task,
    keep,
    report_task,
    table_task,
    track_task,
)
from meldflow.tasks.watching.training import show_training


@flow(name="train", flow_run_name=run_name)
def train(options: TrainOptions) -> TrainReport:
    """Pin a snapshot → read its features → fit and judge → write the report → MLflow.

    Raises:
        UsageError: the store, the snapshot or its rows do not suffice for the protocol.
    """
    logger = get_run_logger()
    check_training(options)
    snapshot = open_store(options.store, options.snapshot)
    logger.info("training on snapshot %s of %s", snapshot.id, options.store)
    table = table_task(snapshot, options.reads, options.modalities, options.target)
    trained = fit_task(table, options)
    page = report_task(trained, options)
    logger.info("report: %s", page)
    show_training(trained.result, page)
    tracking, untracked = track_task(trained, page, options)
    amiss = (keep(snapshot), untracked)
    return TrainReport(result=trained.result, page=page, amiss=amiss, tracking=tracking)
