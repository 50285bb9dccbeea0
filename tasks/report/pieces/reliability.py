"""How sure the classifiers are, against how right."""

from __future__ import annotations

from matplotlib.axes import Axes

from meldflow.models.judging.records import BINS, Bin, Reliability
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import Folded, Pictures, Section, Table
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.text import fraction
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.report.pieces.naming import classifiers, model_name


def _known(result: TrainResult) -> dict[str, Reliability]:
    """Those that have probabilities."""
    judged = classifiers(result).items()
    return {name: one.reliability for name, one in judged if one.reliability is not None}


def section(result: TrainResult) -> Section | None:
    """Whether the models are as sure as they are right."""
    known = _known(result)
    if not known:
        return None
    how = (
        "This protocol chooses no temperature, so the scores are taken as they are."
        if result.judged[result.winner].dev is None
        else "Scores are divided by a temperature, chosen on dev, before they become probabilities."
    )
    errors = Table(
        "Expected calibration error: mean gap between sureness and share right",
        ("Model", "Calibration error", "Temperature"),
        [
            (model_name(name), fraction(one.error), f"{one.temperature:.2f}")
            for name, one in known.items()
        ],
    )
    bins = [_bins(model_name(name), one) for name, one in known.items()]
    return Section(
        "How sure against how right",
        "Bars show how often a model is right among the utterances that it is about equally sure "
        "of; the number above is how many those are. On the dashed line it is as sure as it is "
        f"right; bars below it mean too sure. {how}",
        (Pictures("reliability"), errors, Folded("All bins as tables", bins)),
    )


def _bins(name: str, found: Reliability) -> Table:
    rows = [(f"{one.rows:,}", *map(fraction, (one.confidence, one.accuracy))) for one in found.bins]
    return Table(f"{name}, from unsure to sure", ("Utterances", "How sure", "Share right"), rows)


def panels(result: TrainResult) -> tuple[Panel, ...]:
    """How sure against how often right, a panel per judged model that has probabilities."""
    return tuple(_panel(name, found) for name, found in _known(result).items())


def _panel(name: str, found: Reliability) -> Panel:
    def draw(axes: Axes, theme: Theme) -> None:
        colour = theme.models.get(name, theme.faint)
        axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1.2, linestyle="--", zorder=1)
        middles = [(_place(one) + 0.5) / BINS for one in found.bins]
        right = [one.accuracy for one in found.bins]
        axes.bar(middles, right, 0.92 / BINS, color=colour, alpha=0.75, zorder=2)
        sure = [one.confidence for one in found.bins]
        axes.plot(sure, right, "o", color=theme.ink, markersize=4, zorder=3)
        for middle, one in zip(middles, found.bins, strict=True):
            # Above the diagonal's end of the bin too, or the line runs through the number.
            top = max(one.accuracy, middle + 0.5 / BINS) + 0.012
            axes.text(middle, top, f"{one.rows:,}", ha="center", va="bottom", fontsize=8)
        axes.set(xlim=(0, 1), ylim=(0, 1.09))
        axes.set(xlabel="how sure: probability of what it said", ylabel="share that is right")

    error = f"calibration error {found.error:.3f}"
    bins = ", ".join(f"{one.accuracy:.2f} at {one.confidence:.2f}" for one in found.bins)
    return Panel(
        f"{model_name(name)}: {error}",
        f"Reliability diagram of the {model_name(name)}, expected {error}. "
        f"Share that is right by mean probability: {bins}.",
        draw,
    )


def _place(one: Bin) -> int:
    """Number of a bin, which its mean confidence lies in."""
    return min(int(one.confidence * BINS), BINS - 1)
