"""The steps of the flow `train`, as Prefect sees them."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from models.judging.records import TrainResult
from models.reference.config import Epoch
from models.schema import MeldflowError, UsageError
from models.table import FeatureTable
from storage import Snapshot, history
from tasks.options import TrainOptions
from tasks.progress import progress
from tasks.report.page import write_report
from tasks.table import load_table
from tasks.train import TrainConfig, save_model, train_and_judge


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training run found, in the figures that a terminal shows."""

    report: str
    """Path of the page to open."""
    snapshot: str
    protocol: str
    model: str
    """The classifier that dev chose: ``network`` or ``svm``."""
    test_utterances: int
    weighted_f1: dict[str, float]
    """Classifier → weighted F1 on test."""
    accuracy: dict[str, float]
    """Classifier → accuracy on test."""
    warnings: tuple[str, ...]
    seconds: float

    @classmethod
    def of(cls, result: TrainResult, page: Path, *more: str) -> TrainReport:
        """The figures of ``result``, whose report is at ``page``; ``more`` are warnings too."""
        return cls(
            report=str(page),
            snapshot=result.data.snapshot,
            protocol=result.protocol,
            model=result.winner,
            test_utterances=len(result.test_ids),
            weighted_f1={name: one.test.weighted_f1 for name, one in result.judged.items()},
            accuracy={name: one.test.accuracy for name, one in result.judged.items()},
            warnings=(*map(str, result.warnings), *filter(None, more)),
            seconds=result.durations["total"],
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def fit(table: FeatureTable, options: TrainOptions) -> TrainResult:
    """The reference network and the SVM, fitted and judged under the options' protocol.

    Raises:
        UsageError: the table's rows do not suffice.
    """
    config = TrainConfig(seed=options.seed, epochs=options.epochs)
    with progress("training", options.epochs, "epochs at most") as advance:

        def on_epoch(_: Epoch) -> None:
            advance(1)

        return train_and_judge(table, config, protocol=options.protocol, on_epoch=on_epoch)


def check_report(directory: Path) -> None:
    """Makes the report's folder before anything is trained.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(
            f"report {directory}: cannot be written ({error.strerror}); name another folder"
        ) from error


def report(result: TrainResult, directory: Path) -> Path:
    """Writes the model and the report; gives the page to open."""
    save_model(result, directory)
    return write_report(result, directory)


def keep(snapshot: Snapshot) -> str:
    """Tags the snapshot that a model was trained on, so that maintenance keeps it.

    Gives what went wrong, or nothing: a store that cannot be written now costs no training.
    """
    name = f"trained-{snapshot.id}"
    try:
        history.tag(snapshot.url, name, snapshot.id)
    except MeldflowError as error:
        return f"the snapshot was not tagged, so `meldflow maintain` may forget it: {error}"
    return ""


table_task = task(name="read features", cache_policy=NO_CACHE)(load_table)
fit_task = task(name="fit and judge", cache_policy=NO_CACHE)(fit)
report_task = task(name="write report", cache_policy=NO_CACHE)(report)
