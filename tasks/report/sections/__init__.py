"""The sections of the report, top to bottom.

A new section is a function in a file of its own and one line in ``SECTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable

from meldflow.tasks.pages.blocks import Section
from meldflow.tasks.report.sections import ablations, judged, network, origin, protocols, scores
from meldflow.tasks.report.view import View

Builder = Callable[[View], Section | None]
"""Gives a section, or None when this result has nothing to show there."""

SECTIONS: dict[str, Builder] = {
    "scores": scores.metrics,
    "protocols": protocols.side_by_side,
    "confusion": judged.confusion,
    "classes": judged.per_class,
    "roc": judged.roc,
    "reliability": judged.reliability,
    "comparisons": ablations.comparisons,
    "ablations": ablations.ablations,
    "hardest": judged.hardest,
    "attention": network.attention,
    "training": network.training,
    "network": network.summary,
    "data": origin.data,
    "rows": origin.fitted,
    "provenance": origin.provenance,
}
"""Anchor in the page → what builds the section."""
