"""What a training run leaves in the Prefect UI: scores, confusion matrix, ROC curves."""

from __future__ import annotations

from pathlib import Path

from models.judging.records import TrainResult
from tasks.report.blocks import fraction, model_name
from tasks.report.figures import FIGURES
from tasks.report.headline import explanation, headline
from tasks.watching.artifacts import Artifacts
from tasks.watching.beat import once
from tasks.watching.report import inline
from tasks.watching.words import code, text

SCORES = "train-scores"
REPORT = "train-report"
SHOWN = ("confusion", "roc")
"""Figures that the UI shows; the page has all of them."""

SECONDS = 30.0
"""How long the end of a run waits for it: figures are drawn."""


def show_training(result: TrainResult, page: Path) -> None:
    """Leaves artifacts in the flow run that is current here; nothing where that fails.

    Args:
        result: what was fitted and judged.
        page: where the whole report is.
    """
    shown = Artifacts.of_this_run()
    if shown is not None:
        once("training", lambda: _show(shown, result, page), SECONDS)


def _show(shown: Artifacts, result: TrainResult, page: Path) -> None:
    shown.table(SCORES, _scores(result), f"Judged on {len(result.test_ids):,} test utterances.")
    shown.markdown(REPORT, _markdown(result, page))


def _scores(result: TrainResult) -> list[dict[str, str]]:
    """A row per classifier, the chosen one first."""
    order = sorted(result.judged, key=lambda name: name != result.winner)
    return [
        {
            "model": model_name(name) + (" (chosen on dev)" if name == result.winner else ""),
            "accuracy": fraction(one.test.accuracy),
            "weighted F1": fraction(one.test.weighted_f1),
            "macro F1": fraction(one.test.macro_f1),
        }
        for name, one in ((name, result.judged[name]) for name in order)
    ]


def _markdown(result: TrainResult, page: Path) -> str:
    notes = [f"**Note:** {text(str(warning))}" for warning in result.warnings]
    pictures = [inline(panel) for name in SHOWN for panel in FIGURES[name](result)]
    about = f"Protocol {code(result.protocol)}, snapshot {code(result.data.snapshot)}"
    where = f"the whole report is at {code(str(page.absolute()))}"
    parts = [f"## {text(headline(result))}", text(explanation(result)), *notes]
    return "\n\n".join([*parts, f"{about}; {where}.", *pictures])
