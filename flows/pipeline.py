"""The flow `pipeline`: extract, then train on exactly the snapshot that was published."""

from __future__ import annotations

from prefect import flow

from flows.extract import extract
from flows.train import train
from tasks.extraction import ExtractReport
from tasks.options import ExtractOptions, TrainOptions
from tasks.training import TrainReport


@flow(name="pipeline", flow_run_name="pipeline-{extraction.store}")
def pipeline(
    extraction: ExtractOptions, training: TrainOptions
) -> tuple[ExtractReport, TrainReport]:
    """Extract → train on the snapshot that was published, whatever is published after it.

    Raises:
        UsageError: see ``extract`` and ``train``.
        RunError: see ``extract``.
    """
    extracted = extract(extraction)
    trained = train(training.model_copy(update={"snapshot": extracted.snapshot}))
    return extracted, trained
