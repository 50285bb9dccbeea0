"""The sections of the report, top to bottom.

A new section is a function in a file of its own and one line in ``SECTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable

from models.judging.records import TrainResult
from tasks.report.blocks import Section
from tasks.report.sections import origin, scores

Builder = Callable[[TrainResult], Section | None]
"""Gives a section, or None when this result has nothing to show there."""

SECTIONS: dict[str, Builder] = {
    "scores": scores.metrics,
    "confusion": scores.confusion,
    "emotions": scores.per_emotion,
    "roc": scores.roc,
    "training": origin.training,
    "data": origin.data,
    "rows": origin.fitted,
    "provenance": origin.provenance,
}
"""Anchor in the page → what builds the section."""
