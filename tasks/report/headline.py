"""The report's first words: what the result is, in plain sentences."""

from __future__ import annotations

from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.templates import template
from meldflow.tasks.pages.text import spread
from meldflow.tasks.report.pieces import naming


def headline(result: TrainResult) -> str:
    """One sentence: the chosen model's weighted F1 over the seeds, and the majority's.

    By a wrong protocol it says first that this is no result, and what the same models reach
    on test.
    """
    return _told("headline.txt.j2", result)


def explanation(result: TrainResult) -> str:
    """A few sentences: which seed is shown, how certain that is, why this model is named."""
    return _told("explanation.txt.j2", result)


def _told(name: str, result: TrainResult) -> str:
    """A template of plain text, in one line."""
    text = template(f"report/{name}").render(result=result, naming=naming, spread=spread)
    return " ".join(text.split())
