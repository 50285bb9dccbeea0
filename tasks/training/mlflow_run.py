"""A training run in MLflow: parameters, figures, the report, and a model that predicts.

MLflow works in a child process with a time limit, so that neither its global settings, nor its
log lines, nor a server that does not answer reach the training, which is over by then.
"""

import os
import re
import shlex
from pathlib import Path

from meldflow.models.schema.errors import RunError
from meldflow.models.training.run import Trained
from meldflow.tasks.isolated.child import Child, Raised

NOWHERE = "none"
"""Says that nothing is to be tracked."""
MODULE = "meldflow.tasks.training.mlflow_child"
"""Where the function is that the child is asked for."""
LIMIT = 120.0
"""Seconds that all of it may take; a fresh local folder takes about eight."""


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
    child = Child.start(MODULE)
    given = (trained.result, report_page.absolute(), model_folder.absolute(), where)
    try:
        answer = child.ask("log", given, LIMIT)
    except TimeoutError:
        raise RunError(f"{public(where)} did not take it within {LIMIT:g} s") from None
    except (EOFError, OSError):
        raise RunError(f"the process for it died ({child.death(child.end())})") from None
    finally:
        child.end()
    if isinstance(answer, Raised):
        raise RunError(_one_line(answer.line, where))
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
