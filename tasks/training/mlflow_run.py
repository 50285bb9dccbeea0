"""A training run in MLflow: parameters, figures, the report, and a model that predicts.

MLflow works in a child process with a time limit, so that neither its global settings, nor its
log lines, nor a server that does not answer reach the training, which is over by then.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from meldflow.models.judging.protocols import protocol_named
from meldflow.models.judging.records import JUDGED
from meldflow.models.schema.errors import RunError
from meldflow.models.training.ablations import METRICS
from meldflow.models.training.result import Spread, TrainResult
from meldflow.models.training.run import Trained
from meldflow.tasks.isolated.child import Child, Raised

NOWHERE = "none"
"""Says that nothing is to be tracked."""
EXPERIMENT = "meldflow"
MODULE = "meldflow.tasks.training.mlflow_child"
"""Where the function is that the child is asked for."""
LIMIT = 120.0
"""Seconds that all of it may take; a fresh local folder takes about eight."""
REPORT_FILES = (".html", ".png", ".svg", ".json", ".csv")
"""Endings of what a report consists of: its folder may hold other things."""


class Point(NamedTuple):
    """One value of a metric."""

    name: str
    value: float
    step: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """What MLflow is given of a run: plain values."""

    uri: str
    """MLflow's tracking URI."""
    experiment: str
    artifacts: str
    """URI of the folder for artifacts of a new experiment; "" where the server decides."""
    name: str
    parameters: Mapping[str, str]
    metrics: tuple[Point, ...]
    tags: Mapping[str, str]
    files: tuple[str, ...]
    """Paths of the report's files."""
    model: str
    """Folder of the saved model."""
    classes: tuple[str, ...]


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
    """Logs one run.

    Args:
        trained: the training run.
        report_page: the page of its report; what was written beside it is kept as well.
        model_folder: where ``meldflow.models.training.saved.save_model`` put the model.
        where: MLflow's tracking URI, see ``where_to``; "" does nothing.

    Returns:
        The run as ``URI#/experiments/E/runs/R``, which a browser can open if the URI is a
        server's; "" if nothing was to be tracked.

    Raises:
        RunError: it was not tracked; one line says why.
    """
    if not where:
        return ""
    try:
        tracked = describe(trained, report_page, model_folder, where)
    except OSError as error:
        raise RunError(f"{error.filename}: {error.strerror}") from error
    child = Child.start(MODULE)
    try:
        answer = child.ask("log", (tracked,), LIMIT)
    except TimeoutError:
        raise RunError(f"{public(where)} did not take it within {LIMIT:g} s") from None
    except (EOFError, OSError):
        raise RunError(f"the process for it died ({child.death(child.end())})") from None
    finally:
        child.end()
    if isinstance(answer, Raised):
        raise RunError(_one_line(answer.line, where))
    return f"{public(where).rstrip('/')}/{answer}" if _is_server(where) else public(where) + answer


def describe(trained: Trained, page: Path, model: Path, where: str) -> Tracked:
    """What MLflow is given of a run.

    Raises:
        OSError: the local folder cannot be made, or the report cannot be read.
    """
    result = trained.result
    return Tracked(
        uri=where,
        experiment=EXPERIMENT,
        artifacts=_artifacts(where),
        name=f"{result.network} {result.protocol} {','.join(result.modalities)}",
        parameters=_parameters(result),
        metrics=(*_metrics(result), *_curves(result)),
        tags=dict(_tags(result)),
        files=tuple(_report(result, page)),
        model=os.fspath(model.absolute()),
        classes=result.classes,
    )


def public(uri: str) -> str:
    """``uri`` without the name and password that it may hold."""
    return re.sub(r"://[^/@]*@", "://", uri)


def _is_server(uri: str) -> bool:
    return uri.startswith(("http://", "https://"))


def _artifacts(where: str) -> str:
    """The folder beside a local data base, which is made; MLflow would take the current one."""
    if not where.startswith("sqlite:///"):
        return ""
    folder = Path(where.removeprefix("sqlite:///")).absolute().parent
    folder.mkdir(parents=True, exist_ok=True)
    return (folder / "artifacts").as_uri()


def _parameters(result: TrainResult) -> dict[str, str]:
    data = result.data
    return {
        "protocol": result.protocol,
        "network": result.network,
        "modalities": ",".join(result.modalities),
        "target": result.target,
        "snapshot": data.snapshot,
        "store": data.store,
        "seeds": ",".join(str(one.seed) for one in result.seeds),
        "shown_seed": str(result.shown.seed),
        "trainable_parameters": str(result.parameters),
        **{f"key/{name}": key for name, key in data.keys.items()},
        **{f"weights/{name}": kind for name, kind in data.weights.items()},
        **{f"config/{name}": str(value) for name, value in asdict(result.config).items()},
    }


def _metrics(result: TrainResult) -> Iterator[Point]:
    """Scores by part of the rows; the part judged on has the name that the protocol gives it.

    So nobody finds rows that a network was fitted on in a column called test.
    """
    judged = protocol_named(result.protocol).judge
    parts = {"dev": "dev", judged: JUDGED} | {part: part for part in result.shown.beside}
    for part, rows in parts.items():
        for metric in METRICS:
            chosen = result.over_seeds(result.winner, metric, rows)
            yield from _spread(f"{part}/{metric}", chosen)
            for model in result.judged:
                spread = result.over_seeds(model, metric, rows)
                yield from _spread(f"{part}/{model}/{metric}", spread)
                for seed in result.seeds:
                    if (scores := seed.scores(model, rows)) is not None:
                        name = f"{part}/{model}/{metric}/seed_{seed.seed}"
                        yield Point(name, getattr(scores, metric))
    yield Point("seconds", result.seconds)


def _spread(name: str, spread: Spread | None) -> Iterator[Point]:
    if spread is not None:
        yield Point(name, spread.mean)
        if spread.sd is not None:
            yield Point(f"{name}_sd", spread.sd)


def _curves(result: TrainResult) -> Iterator[Point]:
    """What every epoch of the shown seed gave."""
    for epoch in result.shown.history:
        for name in ("train_loss", "dev_loss", "dev_weighted_f1"):
            value = getattr(epoch, name)
            if value is not None:
                yield Point(f"epoch/{name}", value, epoch.epoch)


def _tags(result: TrainResult) -> Iterator[tuple[str, str]]:
    wrong = protocol_named(result.protocol).wrong
    random = sorted(name for name, kind in result.data.weights.items() if kind == "random")
    yield "winner", result.winner
    yield "command", result.command
    yield "mlflow.source.name", "meldflow train"
    if wrong:
        yield "no_result", wrong
    if random:
        yield "random_weights", ", ".join(random)
    if result.warnings:
        yield "mlflow.note.content", "\n\n".join(map(str, result.warnings))


def _report(result: TrainResult, page: Path) -> Iterator[str]:
    """The report's files: those of the page's folder that are no older than the training.

    The user may have named a folder that holds other things as well.
    """
    begun = datetime.fromisoformat(result.started).timestamp()
    for file in sorted(page.absolute().parent.iterdir()):
        if file.suffix in REPORT_FILES and file.is_file() and file.stat().st_mtime >= begun - 1:
            yield os.fspath(file)


def _one_line(error: str, where: str) -> str:
    """The first line of an error, no longer than a terminal can bear, without passwords."""
    first = (error.splitlines() or [""])[0].replace(where, public(where))
    return public(first if len(first) <= 300 else f"{first[:300]}…")
