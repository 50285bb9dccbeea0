"""The flow `pipeline`: audit, extract, then train on exactly the snapshot that was published."""

from __future__ import annotations

from prefect import flow

from meldflow.flows.audit import audit
from meldflow.flows.extract import extract
from meldflow.flows.train import train
from meldflow.tasks.extraction.committing import ExtractReport
from meldflow.tasks.extraction.inputs import labelled
from meldflow.tasks.options import AuditOptions, ExtractOptions, Training
from meldflow.tasks.training.steps import TrainReport


@flow(name="pipeline", flow_run_name="pipeline-{extraction.store}")
def pipeline(extraction: ExtractOptions, training: Training) -> tuple[ExtractReport, TrainReport]:
    """Audit → extract → train on the snapshot that was published, whatever comes after it.

    The audit is for the reader: what it finds is settled in the same way by the extraction.

    Raises:
        UsageError: the clips are a plain folder; see also ``audit``, ``extract`` and ``train``.
        RunError: see ``extract``.
    """
    dataset = labelled(extraction)
    audit(AuditOptions(dataset=dataset, fixes=extraction.fixes))
    extracted = extract(extraction.model_copy(update={"then_train": False}))
    trained = train(training.on(extracted.store, extracted.snapshot))
    return extracted, trained
