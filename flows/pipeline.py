"""The flow `pipeline`: audit, extract, then train on exactly the snapshot that was published."""

from prefect import flow

from meldflow.flows.audit import audit
from meldflow.flows.extract import extract
from meldflow.flows.serving.names import run_name
from meldflow.flows.train import train
from meldflow.tasks.extraction.committing import ExtractReport
from meldflow.tasks.options import AuditOptions, Extraction, Training
from meldflow.tasks.training.steps import TrainReport


@flow(name="pipeline", flow_run_name=run_name)
def pipeline(extraction: Extraction, training: Training) -> tuple[ExtractReport, TrainReport]:
    """Audit → extract → train on the snapshot that was published, whatever comes after it.

    The audit is for the reader: what it finds is settled in the same way by the extraction.

    Raises:
        UsageError: see ``audit``, ``extract`` and ``train``.
        RunError: see ``extract``.
    """
    audit(AuditOptions(dataset=extraction.dataset, fixes=extraction.fixes))
    extracted = extract(extraction)
    trained = train(training.on(extracted.store, extracted.snapshot, extraction.cluster))
    return extracted, trained
