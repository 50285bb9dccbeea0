"""A training run in MLflow: parameters, figures, the report, and a model that predicts.

MLflow works in a child process with a time limit, so that neither its global settings, nor its
log lines, nor a server that does not answer reach the training, which is over by then.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from meldflow.models.judging.protocols import protocol_named
from meldflow.models.judging.records import JUDGED
from meldflow.models.schema.errors import RunError
from meldflow.models.training.ablations import METRICS
from meldflow.models.training.result import TrainResult
from meldflow.tasks.isolated.child import Child, RaisedError

if TYPE_CHECKING:
    from meldflow.models.training.run import Trained

NOWHERE = "none"
"""Says that nothing is to be tracked."""
LIMIT = 120.0
"""Seconds that all of it may take; a fresh local folder takes about eight."""
EXPERIMENT = "meldflow"
INPUTS = ("clip", "text", "speaker")
"""Columns of what the model is given; each may be absent."""
MODEL_CODE = Path(__file__).with_name("mlflow_model.py")
REPORT_FILES = (".html", ".png", ".svg", ".json", ".csv")
"""Endings of what a report consists of: its folder may hold other things."""
SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}
PATIENCE = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "10", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
"""For a server that is away; what the user set counts more."""


def where_to(wanted: str, report: Path) -> str:
    """MLflow's tracking URI; "" if nothing is to be tracked.

    Args:
        wanted: ``none``, a URI or a folder; "" for what the environment variable
            ``MLFLOW_TRACKING_URI`` says, and else the folder ``mlruns`` beside the report's.
        report: the report's folder.
    """
    wanted = wanted or os.environ.get("MLFLOW_TRACKING_URI", "")
    if wanted == NOWHERE:
        return ""
    if ":" in wanted or wanted == "databricks":
        return wanted
    folder = Path(wanted) if wanted else report.absolute().parent / "mlruns"
    return f"sqlite:///{folder.absolute() / 'mlflow.db'}"


def how_to_look(tracked: str) -> str:
    """The command that shows a tracked run, or the address to open; see ``track``."""
    uri = tracked.partition("#")[0]
    if _is_server(uri):
        return tracked
    return f"mlflow ui --backend-store-uri {shlex.quote(uri)}"


def track(trained: Trained, report_page: Path, model_folder: Path, where: str) -> str:
    """Logs one run, with its report and all that was written beside that, and its model.

    ``where`` is MLflow's tracking URI, see ``where_to``; "" does nothing.

    Returns:
        The run as ``URI#/experiments/E/runs/R``, which a browser can open if the URI is a
        server's; "" if nothing was to be tracked.

    Raises:
        RunError: it was not tracked; one line says why.
    """
    if not where:
        return ""
    given = (trained.result, report_page.absolute(), model_folder.absolute(), where)
    try:
        with Child(__name__) as child:
            answer = child.ask("log", given, LIMIT)
    except TimeoutError:
        raise RunError(f"{public(where)} did not take it within {LIMIT:g} s") from None
    except ChildProcessError as died:
        raise RunError(f"the process for it died ({died})") from None
    except RaisedError as error:
        raise RunError(_one_line(str(error), where)) from None
    return f"{public(where).rstrip('/')}/{answer}" if _is_server(where) else public(where) + answer


def public(uri: str) -> str:
    """``uri`` without the name and password that it may hold."""
    return re.sub(r"://[^/\s]*@", "://", uri)


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _one_line(error: str, where: str) -> str:
    """The first line of an error, no longer than a terminal can bear, without passwords."""
    first = (error.splitlines() or [""])[0].replace(where, public(where))
    return public(first if len(first) <= 300 else f"{first[:300]}…")


def log(result: TrainResult, page: Path, model: Path, uri: str) -> str:
    """Logs the run, with the report of ``page`` and the folder ``model``, in the child.

    Gives where it is below MLflow's tracking URI, as ``#/experiments/E/runs/R``.

    Raises:
        Exception: whatever MLflow raises.
    """
    with Path(os.devnull).open("w") as nothing:  # its lines are not for the training's terminal
        os.dup2(nothing.fileno(), 1)
        os.dup2(nothing.fileno(), 2)
    os.environ.update(SETTINGS)
    os.environ.pop("MLFLOW_RUN_ID", None)  # it would add to a run that somebody else began
    for name, value in PATIENCE.items():
        os.environ.setdefault(name, value)
    import mlflow

    mlflow.set_tracking_uri(uri)
    experiment = _experiment(uri)
    name = f"{result.network} {result.protocol} {','.join(result.modalities)}"
    with mlflow.start_run(experiment_id=experiment, run_name=name, tags=tags(result)) as run:
        mlflow.log_params(_parameters(result))
        mlflow.log_metrics(dict(metrics(result)))
        for epoch in result.shown.history:
            curves = ("train_loss", "dev_loss", "dev_weighted_f1")
            values = {f"epoch/{one}": getattr(epoch, one) for one in curves}
            mlflow.log_metrics(
                {curve: value for curve, value in values.items() if value is not None},
                step=epoch.epoch,
            )
        for file in _report(result, page):
            mlflow.log_artifact(str(file), "report")
        _log_model(model, result.classes)
        return f"#/experiments/{experiment}/runs/{run.info.run_id}"


def _experiment(uri: str) -> str:
    """Its id; artifacts lie beside a local data base: MLflow would take the current folder."""
    import mlflow

    location = None
    if uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).parent
        folder.mkdir(parents=True, exist_ok=True)
        location = (folder / "artifacts").as_uri()
    found = mlflow.get_experiment_by_name(EXPERIMENT)
    if found is not None:
        return str(found.experiment_id)
    return str(mlflow.create_experiment(EXPERIMENT, artifact_location=location))


def _parameters(result: TrainResult) -> dict[str, object]:
    data = result.data
    return {
        "protocol": result.protocol,
        "network": result.network,
        "modalities": ",".join(result.modalities),
        "target": result.target,
        "snapshot": data.snapshot,
        "store": data.store,
        "seeds": ",".join(str(one.seed) for one in result.seeds),
        "shown_seed": result.shown.seed,
        "trainable_parameters": result.parameters,
        **{f"key/{name}": key for name, key in data.keys.items()},
        **{f"weights/{name}": kind for name, kind in data.weights.items()},
        **{f"config/{name}": value for name, value in asdict(result.config).items()},
    }


def metrics(result: TrainResult) -> Iterator[tuple[str, float]]:
    """Scores by part of the rows; the part judged on has the name that the protocol gives it.

    So nobody finds rows that a network was fitted on in a column called test.
    """
    judged = protocol_named(result.protocol).judge
    parts = {"dev": "dev", judged: JUDGED} | {part: part for part in result.shown.beside}
    for part, rows in parts.items():
        for metric in METRICS:
            for model in result.judged:
                names = [f"{part}/{model}/{metric}"]
                names += [f"{part}/{metric}"] if model == result.winner else []
                spread = result.over_seeds(model, metric, rows)
                if spread is not None:
                    yield from ((name, spread.mean) for name in names)
                    if spread.sd is not None:
                        yield from ((f"{name}_sd", spread.sd) for name in names)
                for seed in result.seeds:
                    if (scores := seed.scores(model, rows)) is not None:
                        yield f"{names[0]}/seed_{seed.seed}", getattr(scores, metric)
    yield "seconds", result.seconds


def tags(result: TrainResult) -> dict[str, str]:
    """What a reader of the list of runs has to know, the bad news above all."""
    random = sorted(name for name, kind in result.data.weights.items() if kind == "random")
    told = {
        "winner": result.winner,
        "command": result.command,
        "mlflow.source.name": "meldflow train",
        "no_result": protocol_named(result.protocol).wrong,
        "random_weights": ", ".join(random),
        "mlflow.note.content": "\n\n".join(map(str, result.warnings)),
    }
    return {name: value for name, value in told.items() if value}


def _report(result: TrainResult, page: Path) -> Iterator[Path]:
    """The report's files: those of the page's folder that are no older than the training.

    The user may have named a folder that holds other things as well.
    """
    begun = datetime.fromisoformat(result.started).timestamp()
    for file in sorted(page.parent.iterdir()):
        if file.suffix in REPORT_FILES and file.is_file() and file.stat().st_mtime >= begun - 1:
            yield file


def _log_model(folder: Path, classes: Sequence[str]) -> None:
    """The model as its files and a few lines of code; nothing is pickled."""
    import mlflow.pyfunc
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    inputs: list[ColSpec | TensorSpec] = [ColSpec("string", one, required=False) for one in INPUTS]
    outputs: list[ColSpec | TensorSpec] = [ColSpec("string", "label")]
    outputs += [ColSpec("double", one) for one in classes]
    mlflow.pyfunc.log_model(
        name="model",
        python_model=str(MODEL_CODE),
        artifacts={"model": str(folder)},
        signature=ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs)),
        # Named, since MLflow would start the model in another process to find them out.
        pip_requirements=["meldflow"],
    )
