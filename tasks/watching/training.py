"""What a training run leaves in the Prefect UI: tables and figures of the report's page."""

from pathlib import Path

from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.text import Table
from meldflow.tasks.report.page import explanation, headline
from meldflow.tasks.report.pieces import FIGURES
from meldflow.tasks.report.pieces.classes import class_table
from meldflow.tasks.report.pieces.compared import ablations_table, comparisons_table
from meldflow.tasks.report.pieces.scores import over_seeds_table
from meldflow.tasks.watching.artifacts import Artifacts
from meldflow.tasks.watching.beat import once
from meldflow.tasks.watching.report import picture
from meldflow.tasks.watching.words import code, text

SCORES = "train-scores"
CLASSES = "train-classes"
ABLATIONS = "train-ablations"
COMPARISONS = "train-comparisons"
REPORT = "train-report"
SHOWN = ("confusion", "roc", "reliability", "training", "attention")
"""Figures that the UI shows; the page has all of them."""

SECONDS = 30.0
"""How long the end of a run waits for it: figures are drawn."""


def show_training(result: TrainResult, page: Path) -> None:
    """Leaves artifacts in the flow run that is current here; nothing where that fails."""
    shown = Artifacts.of_this_run()
    if shown is not None:
        once("training", lambda: _show(shown, result, page), SECONDS)


def _show(shown: Artifacts, result: TrainResult, page: Path) -> None:
    _table(shown, SCORES, over_seeds_table(result, result.shown.beside))
    _table(shown, CLASSES, class_table(result, result.winner))
    _table(shown, ABLATIONS, ablations_table(result))
    _table(shown, COMPARISONS, comparisons_table(result))
    shown.markdown(REPORT, _markdown(result, page))


def _table(shown: Artifacts, key: str, table: Table) -> None:
    """The table as the page has it, small print in brackets."""
    rows = [dict(zip(table.head, map(str, row), strict=True)) for row in table.rows]
    shown.table(key, rows, table.caption)


def _markdown(result: TrainResult, page: Path) -> str:
    notes = [f"**Note:** {text(str(warning))}" for warning in result.warnings]
    panels = (panel for name in SHOWN for panel in FIGURES[name](result))
    pictures = [f"![{text(one.alt)}]({picture(one)})" for one in panels]
    about = f"Protocol {code(result.protocol)}, snapshot {code(result.data.snapshot)}"
    where = f"the whole report is at {code(str(page.absolute()))}"
    parts = [f"## {text(headline(result))}", text(explanation(result)), *notes]
    return "\n\n".join([*parts, f"{about}; {where}.", *pictures])
