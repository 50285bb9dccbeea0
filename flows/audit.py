"""The flow `audit`: every discrepancy between the annotations and the clips, in one report."""

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from meldflow.flows.serving.names import run_name
from meldflow.tasks.audit.stock import AuditReport, markdown, news, table, take_stock
from meldflow.tasks.options import AuditOptions

TABLE_ROWS = 200
"""Findings that the UI shows; the JSON has all of them."""


@flow(name="audit", flow_run_name=run_name)
def audit(options: AuditOptions) -> AuditReport:
    """Read the annotations and every clip's header → count → leave the summary in the UI.

    Raises:
        UsageError: the data set cannot be read.
    """
    logger = get_run_logger()
    report = take_stock(options)
    logger.info("%s", report.headline())
    for kind, found in report.by_kind.items():
        logger.info("%s: %d, of them %d news", kind, len(found), news(found))
    create_markdown_artifact(markdown(report), key="audit-summary")
    create_table_artifact(table(report, TABLE_ROWS), key="audit-findings")
    return report
