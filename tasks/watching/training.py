"""What a training run leaves in the Prefect UI: scores, classes, comparisons, figures."""

from __future__ import annotations

from pathlib import Path

from meldflow.models.judging.records import JUDGED
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.text import DASH, fraction, signed, spread
from meldflow.tasks.report.headline import explanation, headline
from meldflow.tasks.report.pieces import FIGURES
from meldflow.tasks.report.pieces.compared import p_value
from meldflow.tasks.report.pieces.naming import (
    choice_name,
    choices,
    judged_part,
    model_name,
    over_seeds,
)
from meldflow.tasks.report.pieces.scores import MEASURES
from meldflow.tasks.watching.artifacts import Artifacts
from meldflow.tasks.watching.beat import once
from meldflow.tasks.watching.report import inline
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
    """Leaves artifacts in the flow run that is current here; nothing where that fails.

    Args:
        result: what was fitted and judged.
        page: where the whole report is.
    """
    shown = Artifacts.of_this_run()
    if shown is not None:
        once("training", lambda: _show(shown, result, page), SECONDS)


def _show(shown: Artifacts, result: TrainResult, page: Path) -> None:
    part, seeds = judged_part(result), len(result.seeds)
    each = f", mean ± standard deviation over {seeds} seeds" if seeds > 1 else ""
    shown.table(SCORES, _scores(result), f"{len(result.test_ids):,} {part} utterances{each}.")
    winner, seed = model_name(result.winner), result.shown.seed
    shown.table(CLASSES, _classes(result), f"{winner} on {part}, seed {seed}.")
    shown.table(ABLATIONS, _ablations(result), f"With less to go on, judged on {part}.")
    shown.table(
        COMPARISONS,
        _comparisons(result),
        f"Weighted F1 of the {winner} minus that of the other on {part}, seed {seed}.",
    )
    shown.markdown(REPORT, _markdown(result, page))


def _scores(result: TrainResult) -> list[dict[str, str]]:
    """A row per classifier, the chosen one first."""
    order = sorted(result.judged, key=lambda name: name != result.winner)
    parts = {judged_part(result): JUDGED, "dev": "dev"} | {one: one for one in result.shown.beside}
    return [
        {
            "model": model_name(name) + (" (chosen)" if name == result.winner else ""),
            **{
                f"{words} on {label}": spread(found)
                for label, part in parts.items()
                for measure, words in MEASURES.items()
                if (found := over_seeds(result, name, measure, part)) is not None
            },
        }
        for name in order
    ]


def _classes(result: TrainResult) -> list[dict[str, str]]:
    """A row per class, of the chosen classifier."""
    judged = result.judged[result.winner]
    return [
        {
            result.target: one.label,
            "total": f"{one.total:,}",
            "correct": f"{one.correct:,}",
            "wrong": f"{one.wrong:,}",
            "correct %": DASH if one.percent is None else f"{one.percent:.1f}",
            "precision": fraction(one.precision),
            "F1": fraction(one.f1),
            "AUC": fraction(curve.auc),
        }
        for one, curve in zip(judged.per_class, judged.roc, strict=True)
    ]


def _ablations(result: TrainResult) -> list[dict[str, str]]:
    """A row per choice of what to go on; none where nothing was left out."""
    if not result.ablations:
        return []
    return [
        {"goes on": one.name}
        | {words: spread(one.judged.get(measure)) for measure, words in MEASURES.items()}
        for one in choices(result)
    ]


def _comparisons(result: TrainResult) -> list[dict[str, str]]:
    """A row per rival of the chosen classifier."""
    return [
        {
            "against": choice_name(one.other, result),
            "difference": signed(one.difference),
            "95 % interval": f"{signed(one.low)} to {signed(one.high)}",
            "right alone": f"{one.only_one:,}",
            "the other alone": f"{one.only_other:,}",
            "p": p_value(one),
        }
        for one in result.comparisons
    ]


def _markdown(result: TrainResult, page: Path) -> str:
    notes = [f"**Note:** {text(str(warning))}" for warning in result.warnings]
    pictures = [inline(panel) for name in SHOWN for panel in FIGURES[name](result)]
    about = f"Protocol {code(result.protocol)}, snapshot {code(result.data.snapshot)}"
    where = f"the whole report is at {code(str(page.absolute()))}"
    parts = [f"## {text(headline(result))}", text(explanation(result)), *notes]
    return "\n\n".join([*parts, f"{about}; {where}.", *pictures])
