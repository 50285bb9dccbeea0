"""The training report's figures: each is a tuple of panels, drawn for a light and a dark page.

A new figure is one function and one line in ``FIGURES``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.report.figures import compared, judged, trained

FIGURES: Mapping[str, Callable[[TrainResult], tuple[Panel, ...]]] = {
    "confusion": judged.confusion_panels,
    "per_class": judged.per_class_panels,
    "roc": judged.roc_panels,
    "reliability": judged.reliability_panels,
    "protocols": compared.protocol_panels,
    "ablations": compared.ablation_panels,
    "training": trained.training_panels,
    "attention": trained.attention_panels,
}
"""File stem → its panels; none where a result has nothing to show there."""
