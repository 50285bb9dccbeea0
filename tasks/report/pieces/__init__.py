"""The pieces of the report: sections and figures, a file for each matter.

A new one is a function and its line in ``SECTIONS`` or ``FIGURES``.
"""

from __future__ import annotations

from collections.abc import Callable

from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import Section
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.report.pieces import (
    classes,
    compared,
    confusion,
    network,
    origin,
    protocols,
    reliability,
    scores,
)

SECTIONS: dict[str, Callable[[TrainResult], Section | None]] = {
    "scores": scores.section,
    "protocols": protocols.section,
    "confusion": confusion.section,
    "classes": classes.per_class,
    "roc": classes.roc,
    "reliability": reliability.section,
    "comparisons": compared.comparisons,
    "ablations": compared.ablations,
    "hardest": classes.hardest,
    "attention": network.attention,
    "training": network.training,
    "network": network.summary,
    "data": origin.data,
    "rows": origin.fitted,
    "provenance": origin.provenance,
}
"""Anchor in the page, top to bottom → the section; none where a result has nothing to show."""

FIGURES: dict[str, Callable[[TrainResult], tuple[Panel, ...]]] = {
    "confusion": confusion.panels,
    "per_class": classes.per_class_panels,
    "roc": classes.roc_panels,
    "reliability": reliability.panels,
    "protocols": protocols.panels,
    "ablations": compared.ablation_panels,
    "training": network.training_panels,
    "attention": network.attention_panels,
}
"""File stem → its panels, each drawn for a light and a dark page; none likewise."""
