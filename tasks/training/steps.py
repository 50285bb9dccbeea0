"""The steps of the flow `train`, as Prefect sees them."""

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from pydantic_core import to_jsonable_python

from meldflow.models.judging.protocols import protocol_named
from meldflow.models.judging.records import JUDGED
from meldflow.models.judging.table import FeatureTable
from meldflow.models.schema.errors import MeldflowError, RunError, UsageError
from meldflow.models.training.ablations import METRICS
from meldflow.models.training.result import Spread, TrainResult
from meldflow.models.training.run import Plan, Trained, config_for, plan
from meldflow.models.training.saved import save_model
from meldflow.storage import Snapshot, history
from meldflow.tasks.cluster.profile import load_profile
from meldflow.tasks.options import Training, TrainOptions
from meldflow.tasks.report.page import folder_of, write_report
from meldflow.tasks.training.mlflow_run import track, where_to


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainReport:
    """What a training run found, and where to read more."""

    result: TrainResult
    page: Path
    """The page to open."""
    amiss: tuple[str, ...] = ()
    """What went wrong after the training; empty texts count for nothing."""
    tracking: str = ""
    """Where MLflow has the run, as ``mlflow_run.track`` says it; empty where it has not."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader has to know before trusting the figures."""
        return (*map(str, self.result.warnings), *filter(None, self.amiss))

    def spreads(self, model: str, part: str = JUDGED) -> dict[str, Spread]:
        """Metric → what a classifier reaches on a part of the rows, over the seeds."""
        found = {metric: self.result.over_seeds(model, metric, part) for metric in METRICS}
        return {metric: one for metric, one in found.items() if one is not None}

    def to_json(self) -> dict[str, Any]:
        """The figures that a terminal shows, as JSON values."""
        result, winner = self.result, self.result.winner
        judged = {name: self.spreads(name) for name in result.judged}
        found = {
            "report": self.page,
            "snapshot": result.data.snapshot,
            "protocol": result.protocol,
            "network": result.network,
            "modalities": result.modalities,
            "target": result.target,
            "seeds": [one.seed for one in result.seeds],
            "model": winner,
            "test_utterances": len(result.test_ids),
            "weighted_f1": {name: one["weighted_f1"].mean for name, one in judged.items()},
            "accuracy": {name: one["accuracy"].mean for name, one in judged.items()},
            # Of the chosen classifier; nothing on dev where the protocol chooses nothing.
            "dev": self.spreads(winner, "dev"),
            "test": judged[winner],
            "beside": {part: self.spreads(winner, part) for part in result.shown.beside},
            "ablations": {one.name: one.test["weighted_f1"] for one in result.ablations},
            "majority": {metric: one.mean for metric, one in judged["majority"].items()},
            "warnings": self.warnings,
            "seconds": result.seconds,
            "tracking": self.tracking,
        }
        return cast(dict[str, Any], to_jsonable_python(found))


def plan_training(table: FeatureTable, options: TrainOptions) -> Plan:
    """What is to be fitted under the options' protocol, of ``table``, which may be bare.

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
    return plan(
        table, config, protocol=options.protocol, seeds=options.seeds, ablations=options.ablations
    )


def checkpoints(options: TrainOptions) -> Path:
    """Where the state of a training is while it runs."""
    return folder_of(options.report, options.protocol) / "checkpoints"


def check_training(options: Training) -> None:
    """Finds what is wrong with the options, and makes the report's folder, before any work.

    Raises:
        UsageError: the protocol is unknown, the cluster profile does not describe a cluster, or
            the report cannot be written.
    """
    protocol_named(options.protocol)
    if isinstance(options, TrainOptions):
        load_profile(options.cluster).check()
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
    shutil.rmtree(checkpoints(options), ignore_errors=True)
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


report_task = task(name="write report", cache_policy=NO_CACHE)(report)
track_task = task(name="note in MLflow", cache_policy=NO_CACHE)(note_in_mlflow)
