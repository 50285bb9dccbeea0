"""The steps of the flow `train`, as Prefect sees them."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from meldflow.models.judging.protocols import protocol_named
from meldflow.models.judging.records import JUDGED
from meldflow.models.judging.table import FeatureTable
from meldflow.models.schema.errors import MeldflowError, RunError, UsageError
from meldflow.models.training.ablations import METRICS
from meldflow.models.training.result import Spread, TrainResult
from meldflow.models.training.run import Trained, config_for, train_and_judge
from meldflow.models.training.saved import save_model
from meldflow.storage import Snapshot, history
from meldflow.tasks.options import Training, TrainOptions
from meldflow.tasks.pages.progress import progress
from meldflow.tasks.report.page import folder_of, write_report
from meldflow.tasks.training.mlflow_run import track, where_to
from meldflow.tasks.training.table import load_table


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training run found, in the figures that a terminal shows."""

    report: str
    """Path of the page to open."""
    snapshot: str
    protocol: str
    network: str
    modalities: tuple[str, ...]
    target: str
    seeds: tuple[int, ...]
    model: str
    """The classifier that dev chose over all seeds: ``network`` or ``svm``."""
    test_utterances: int
    """How many were judged."""
    weighted_f1: dict[str, float]
    """Classifier → weighted F1 on test, mean over the seeds."""
    accuracy: dict[str, float]
    """Classifier → accuracy on test, mean over the seeds."""
    dev: dict[str, Spread]
    """Metric → what the chosen classifier reaches on dev, each seed's model by itself; empty
    where the protocol chooses nothing."""
    test: dict[str, Spread]
    """The same on the rows that the protocol judges on: test, in a sound one."""
    beside: dict[str, dict[str, Spread]]
    """Other part of the rows → the same there, by the very same models."""
    ablations: dict[str, Spread]
    """Smaller choice → weighted F1 on test."""
    majority: dict[str, float]
    """Metric → what always giving the commonest class reaches on test."""
    warnings: tuple[str, ...]
    seconds: float
    tracking: str = ""
    """Where MLflow has the run, as ``mlflow_run.track`` says it; empty where it has not."""

    @classmethod
    def of(cls, result: TrainResult, page: Path, *more: str, tracking: str = "") -> TrainReport:
        """The figures of ``result``, whose report is at ``page``; ``more`` are warnings too."""
        first, model = result.seeds[0], result.winner

        def spreads(model: str, part: str = JUDGED) -> dict[str, Spread]:
            found = {metric: result.over_seeds(model, metric, part) for metric in METRICS}
            return {metric: one for metric, one in found.items() if one is not None}

        by_model = {name: spreads(name) for name in first.judged}
        return cls(
            report=str(page),
            snapshot=result.data.snapshot,
            protocol=result.protocol,
            network=result.network,
            modalities=result.modalities,
            target=result.target,
            seeds=tuple(one.seed for one in result.seeds),
            model=model,
            test_utterances=len(result.test_ids),
            weighted_f1={name: one["weighted_f1"].mean for name, one in by_model.items()},
            accuracy={name: one["accuracy"].mean for name, one in by_model.items()},
            dev=spreads(model, "dev"),
            test=by_model[model],
            beside={part: spreads(model, part) for part in first.beside},
            ablations={one.name: one.test["weighted_f1"] for one in result.ablations},
            majority={metric: one.mean for metric, one in by_model["majority"].items()},
            warnings=(*map(str, result.warnings), *filter(None, more)),
            seconds=result.seconds,
            tracking=tracking,
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


def fit(table: FeatureTable, options: TrainOptions) -> Trained:
    """The network and the SVM, fitted and judged under the options' protocol, for each seed.

    Raises:
        UsageError: the table's rows do not suffice.
    """
    config = config_for(
        options.protocol,
        options.network,
        seed=options.seed,
        epochs=options.epochs or None,
        causal=options.causal,
        device=options.device,
        precision=options.precision,
    )
    return train_and_judge(
        table,
        config,
        protocol=options.protocol,
        seeds=options.seeds,
        ablations=options.ablations,
        watch=progress,
        resume=_checkpoints(options),
    )


def _checkpoints(options: TrainOptions) -> Path:
    """Where the state of a training is while it runs."""
    return folder_of(options.report, options.protocol) / "checkpoints"


def check_training(options: Training) -> None:
    """Finds what is wrong with the options, and makes the report's folder, before any work.

    Raises:
        UsageError: the protocol is unknown, or the report cannot be written.
    """
    protocol_named(options.protocol)
    directory = options.report
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise UsageError(
            f"report {directory}: cannot be written ({error.strerror}); name another folder"
        ) from error


def report(trained: Trained, options: TrainOptions) -> Path:
    """Writes the model and the report of the seed that is best on dev; gives the page to open.

    The checkpoints of the training have served then.
    """
    save_model(trained, folder_of(options.report, options.protocol))
    page = write_report(trained.result, options.report)
    shutil.rmtree(_checkpoints(options), ignore_errors=True)
    return page


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


def note_in_mlflow(trained: Trained, page: Path, options: TrainOptions) -> tuple[str, str]:
    """Logs the run in MLflow, if it is to be.

    Gives where it is, and what went wrong: MLflow being away costs no training.
    """
    where = where_to(options.tracking, options.report)
    model = folder_of(options.report, options.protocol) / "model"
    try:
        return track(trained, page, model, where), ""
    except RunError as error:
        return "", f"the run was not tracked in MLflow: {error}"


table_task = task(name="read features", cache_policy=NO_CACHE)(load_table)
fit_task = task(name="fit and judge", cache_policy=NO_CACHE)(fit)
report_task = task(name="write report", cache_policy=NO_CACHE)(report)
track_task = task(name="note in MLflow", cache_policy=NO_CACHE)(note_in_mlflow)
