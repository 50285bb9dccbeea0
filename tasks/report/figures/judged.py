"""Figures on what the classifiers are worth, each on the rows that the protocol judges on."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from meldflow.models.judging.records import BINS, Bin, Judgement, Reliability
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import model_name
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.report.words import classifiers, judged_part

_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
"""A line style per class, so that no curve is told by its colour alone."""


def confusion_panels(result: TrainResult) -> tuple[Panel, ...]:
    """True against predicted class, a panel per judged model but the majority."""
    return tuple(
        confusion_panel(model_name(name), one, result.classes) for name, one in classifiers(result)
    )


def confusion_panel(name: str, judged: Judgement, classes: tuple[str, ...]) -> Panel:
    """A confusion matrix: counts, and their shares of the row.

    Args:
        name: what it is headed with.
        judged: whose it is.
        classes: labels of rows and columns.
    """
    counts = np.array(judged.confusion)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)

    def draw(axes: Axes, theme: Theme) -> None:
        axes.imshow(share, cmap=theme.heat, vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(classes)), classes, rotation=40, ha="right")
        axes.set_yticks(range(len(classes)), classes)
        axes.set(xlabel="predicted", ylabel="true")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        for (row, column), count in np.ndenumerate(counts):
            colour = theme.on_heat(share[row, column]) if count else theme.faint
            label = f"{count}\n{share[row, column]:.0%}" if count else "0"
            axes.text(column, row, label, ha="center", va="center", color=colour, fontsize=8.5)

    right = f"{int(np.trace(counts)):,} of {int(counts.sum()):,} right"
    alt = f"Confusion matrix, {name}: {right}. The report has the numbers as tables, too."
    return Panel(title=f"{name}: {right}", alt=alt, draw=draw)


def roc_panels(result: TrainResult) -> tuple[Panel, ...]:
    """One-versus-rest ROC, a panel per judged model that has scores."""
    return tuple(_roc_panel(name, one, result.target) for name, one in classifiers(result))


def _roc_panel(name: str, judged: Judgement, target: str) -> Panel:
    def draw(axes: Axes, theme: Theme) -> None:
        axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1)
        for curve, style in zip(judged.roc, _STYLES, strict=False):
            if curve.auc is not None:
                axes.plot(
                    curve.false_positive_rate,
                    curve.true_positive_rate,
                    color=theme.label(curve.label),
                    linestyle=style,
                    linewidth=1.9,
                    label=f"{curve.label}  {curve.auc:.2f}",
                )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        if any(curve.auc is not None for curve in judged.roc):
            axes.legend(title=f"{target}  AUC", loc="lower right", handlelength=2.6)

    known = [f"{c.label} {c.auc:.2f}" for c in judged.roc if c.auc is not None]
    alt = (
        f"ROC curves of the {model_name(name)}, area under the curve: {', '.join(known) or 'none'}."
    )
    return Panel(title=model_name(name), alt=alt, draw=draw)


def per_class_panels(result: TrainResult) -> tuple[Panel, ...]:
    """F1 by class, a bar per model."""
    models, classes, part = classifiers(result), result.classes, judged_part(result)

    def draw(axes: Axes, theme: Theme) -> None:
        height = 0.8 / len(models)
        for i, (name, judged) in enumerate(models):
            places = np.arange(len(classes)) + (i - (len(models) - 1) / 2) * height
            values = [one.f1 or 0.0 for one in judged.per_class]
            colour = theme.models.get(name, theme.faint)
            axes.barh(places, values, height * 0.9, color=colour, label=model_name(name))
            for place, one in zip(places, judged.per_class, strict=True):
                text = f"none in {part}" if one.f1 is None else f"{one.f1:.2f}"
                axes.text((one.f1 or 0) + 0.012, place, text, va="center", fontsize=8)
        counts = [one.total for one in models[0][1].per_class]
        labels = [f"{label} ({n:,})" for label, n in zip(classes, counts, strict=True)]
        axes.set_yticks(range(len(classes)), labels)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.08), xlabel=f"F1 on {part} (number of utterances in brackets)")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.14), ncols=2)

    alt = f"F1 by {result.target}. " + " ".join(
        f"{model_name(name)}: "
        + ", ".join(f"{e.label} {e.f1:.2f}" for e in judged.per_class if e.f1 is not None)
        + "."
        for name, judged in models
    )
    return (Panel(title=f"F1 by {result.target}", alt=alt, draw=draw),) if models else ()


def reliability_panels(result: TrainResult) -> tuple[Panel, ...]:
    """How sure against how often right, a panel per judged model that has probabilities."""
    return tuple(
        _reliability_panel(name, one.reliability)
        for name, one in classifiers(result)
        if one.reliability is not None
    )


def _reliability_panel(name: str, found: Reliability) -> Panel:
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
        title=f"{model_name(name)}: {error}",
        alt=f"Reliability diagram of the {model_name(name)}, expected {error}. "
        f"Share that is right by mean probability: {bins}.",
        draw=draw,
    )


def _place(one: Bin) -> int:
    """Number of a bin, which its mean confidence lies in."""
    return min(int(one.confidence * BINS), BINS - 1)
