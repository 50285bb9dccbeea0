"""Logs a training run with MLflow: what the child process of ``tasks.training.mlflow_run`` does."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meldflow.tasks.training.mlflow_run import Tracked

INPUTS = ("clip", "text", "speaker")
"""Columns of what the model is given; each may be absent."""
MODEL_CODE = Path(__file__).with_name("mlflow_model.py")
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""For a server that is away; what the user set counts more."""


def log(tracked: Tracked) -> str:
    """Logs the run; gives where it is below the tracking URI, as ``#/experiments/E/runs/R``.

    Raises:
        Exception: whatever MLflow raises.
    """
    _be_quiet()
    os.environ.update(SETTINGS)
    os.environ.pop("MLFLOW_RUN_ID", None)  # it would add to a run that somebody else began
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    import mlflow

    mlflow.set_tracking_uri(tracked.uri)
    experiment = _experiment(tracked)
    with mlflow.start_run(
        experiment_id=experiment, run_name=tracked.name, tags=dict(tracked.tags)
    ) as run:
        _log_values(tracked, run.info.run_id)
        for file in tracked.files:
            mlflow.log_artifact(file, "report")
        _log_model(tracked)
        return f"#/experiments/{experiment}/runs/{run.info.run_id}"


def _be_quiet() -> None:
    """Neither MLflow nor what it uses writes to the terminal of the training."""
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)


def _experiment(tracked: Tracked) -> str:
    import mlflow

    found = mlflow.get_experiment_by_name(tracked.experiment)
    if found is not None:
        return str(found.experiment_id)
    location = tracked.artifacts or None
    return str(mlflow.create_experiment(tracked.experiment, artifact_location=location))


def _log_values(tracked: Tracked, run: str) -> None:
    from mlflow.entities import Metric, Param
    from mlflow.tracking import MlflowClient

    now = round(time.time() * 1000)
    MlflowClient().log_batch(
        run,
        params=[Param(name, value[:6000]) for name, value in tracked.parameters.items()],
        metrics=[Metric(one.name, one.value, now, one.step) for one in tracked.metrics],
    )


def _log_model(tracked: Tracked) -> None:
    """The model as its files and a few lines of code; nothing is pickled."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs: list[ColSpec | TensorSpec] = [ColSpec("string", one, required=False) for one in INPUTS]
    outputs: list[ColSpec | TensorSpec] = [ColSpec("string", "label")]
    outputs += [ColSpec("double", one) for one in tracked.classes]
    mlflow.pyfunc.log_model(
        name="model",
        python_model=str(MODEL_CODE),
        artifacts={"model": tracked.model},
        signature=ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs)),
        # Named, since MLflow would start the model in another process to find them out.
        pip_requirements=["meldflow"],
    )
