"""The pieces of the report: tables and figures, a file for each matter.

A new figure is a function and its line in ``FIGURES``; ``report.html.j2`` says what stands where.
"""

from collections.abc import Callable

from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.report.pieces import classes, compared, network

FIGURES: dict[str, Callable[[TrainResult], tuple[Panel, ...]]] = {
    "confusion": classes.confusion_panels,
    "per_class": classes.per_class_panels,
    "roc": classes.roc_panels,
    "reliability": classes.reliability_panels,
    "protocols": compared.protocol_panels,
    "ablations": compared.ablation_panels,
    "training": network.training_panels,
    "attention": network.attention_panels,
}
"""File stem → its panels, each drawn for a light and a dark page; none likewise."""
