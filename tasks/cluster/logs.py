"""The workers' log records, in the flow run's own log."""

import contextlib
import logging
from collections.abc import Iterator

from distributed import Client, WorkerPlugin
from prefect.context import FlowRunContext
from prefect.logging.handlers import APILogHandler

from meldflow.tasks.cluster.connection import Cluster

NAME = "meldflow"
"""Name of the logger that all code on the workers logs below."""


@contextlib.contextmanager
def worker_logs(cluster: Cluster) -> Iterator[None]:
    """Sends what workers log below ``meldflow`` to the flow run that is current here."""
    context = FlowRunContext.get()
    if context is None or context.flow_run is None:
        yield
        return
    handler, flow_run_id = APILogHandler(), str(context.flow_run.id)

    def stamp(record: logging.LogRecord) -> bool:
        record.flow_run_id = flow_run_id  # a worker knows none, and Prefect drops what has none
        return True

    handler.addFilter(stamp)
    logger = logging.getLogger(NAME)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    cluster.on_join(_forward)
    try:
        yield
    finally:
        logger.removeHandler(handler)


def _forward(client: Client) -> None:
    client.register_plugin(_LetInfoThrough())
    client.forward_logging(NAME, level=logging.INFO)


class _LetInfoThrough(WorkerPlugin):
    """Sets the level on every worker, also on one that joins or is restarted later."""

    name = "meldflow-log-level"

    def setup(self, worker: object) -> None:
        """Called once per worker process."""
        logging.getLogger(NAME).setLevel(logging.INFO)
