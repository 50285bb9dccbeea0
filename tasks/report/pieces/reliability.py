"""How sure the classifiers are, against how right."""

from matplotlib.axes import Axes

from meldflow.models.judging.records import BINS, Reliability
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.report.pieces.naming import classifiers, model_name


def reliable(result: TrainResult) -> dict[str, Reliability]:
    """Those that have probabilities."""
    judged = classifiers(result).items()
    return {name: one.reliability for name, one in judged if one.reliability is not None}


def panels(result: TrainResult) -> tuple[Panel, ...]:
    """How sure against how often right, a panel per judged model that has probabilities."""
    return tuple(_panel(name, found) for name, found in reliable(result).items())


def _panel(name: str, found: Reliability) -> Panel:
    def draw(axes: Axes, theme: Theme) -> None:
        colour = theme.models.get(name, theme.faint)
        axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1.2, linestyle="--", zorder=1)
        numbers = [min(int(one.confidence * BINS), BINS - 1) for one in found.bins]
        middles = [(number + 0.5) / BINS for number in numbers]
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
