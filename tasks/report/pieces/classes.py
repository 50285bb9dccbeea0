"""How each class fares, what it is taken for, and how sure against how right classifiers are."""

import numpy as np
from matplotlib.axes import Axes

from meldflow.models.judging.records import BINS, Judgement, Reliability
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.text import DASH, Cell, Row, Table, fraction
from meldflow.tasks.pages.themes import LINE_STYLES, Theme
from meldflow.tasks.report.pieces.naming import classifiers, model_name, rules


def class_table(result: TrainResult, model: str) -> Table:
    """How each class fares by one classifier."""
    judged, first = result.judged[model], result.target.capitalize()
    rows: list[Row] = [
        (
            one.label,
            *(f"{n:,}" for n in (one.total, one.correct, one.wrong)),
            Cell(
                DASH if one.percent is None else f"{one.percent:.1f} %",
                share=(one.percent or 0) / 100,
            ),
            *map(fraction, (one.precision, one.f1, curve.auc)),
        )
        for one, curve in zip(judged.per_class, judged.roc, strict=True)
    ]
    head = (first, "Total", "Correct", "Wrong", "Correct %", "Precision", "F1", "AUC")
    return Table(f"{model_name(model)} on {rules(result).judge}", head, rows)


def per_class_panels(result: TrainResult) -> tuple[Panel, ...]:
    """F1 by class, a bar per model."""
    models, classes, part = classifiers(result), result.classes, rules(result).judge
    if not models:
        return ()

    def draw(axes: Axes, theme: Theme) -> None:
        height = 0.8 / len(models)
        for i, (name, judged) in enumerate(models.items()):
            places = np.arange(len(classes)) + (i - (len(models) - 1) / 2) * height
            values = [one.f1 or 0.0 for one in judged.per_class]
            colour = theme.models.get(name, theme.faint)
            bars = axes.barh(places, values, height * 0.9, color=colour, label=model_name(name))
            told = (one.f1 for one in judged.per_class)
            labels = [f"none in {part}" if f1 is None else f"{f1:.2f}" for f1 in told]
            axes.bar_label(bars, labels, padding=3, fontsize=8)
        counts = [one.total for one in next(iter(models.values())).per_class]
        names = [f"{label} ({n:,})" for label, n in zip(classes, counts, strict=True)]
        axes.set_yticks(range(len(classes)), names)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.08), xlabel=f"F1 on {part} (number of utterances in brackets)")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.14), ncols=2)

    told = (
        f"{model_name(name)}: "
        + ", ".join(f"{e.label} {e.f1:.2f}" for e in judged.per_class if e.f1 is not None)
        for name, judged in models.items()
    )
    title = f"F1 by {result.target}"
    return (Panel(title, f"{title}. {'. '.join(told)}.", draw),)


def roc_panels(result: TrainResult) -> tuple[Panel, ...]:
    """One-versus-rest ROC, a panel per judged model that has scores."""
    judged = classifiers(result).items()
    return tuple(_roc_panel(model_name(name), one, result.target) for name, one in judged)


def _roc_panel(name: str, judged: Judgement, target: str) -> Panel:
    curves = [(one, style) for one, style in zip(judged.roc, LINE_STYLES, strict=False)]
    known = {f"{c.label}  {c.auc:.2f}": (c, style) for c, style in curves if c.auc is not None}

    def draw(axes: Axes, theme: Theme) -> None:
        axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1)
        for label, (curve, style) in known.items():
            axes.plot(
                curve.false_positive_rate,
                curve.true_positive_rate,
                color=theme.label(curve.label),
                linestyle=style,
                linewidth=1.9,
                label=label,
            )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        if known:
            axes.legend(title=f"{target}  AUC", loc="lower right", handlelength=2.6)

    areas = ", ".join(label.replace("  ", " ") for label in known) or "none"
    return Panel(name, f"ROC curves of the {name}, area under the curve: {areas}.", draw)


def confusion_panels(result: TrainResult) -> tuple[Panel, ...]:
    """True against predicted class, a panel per judged model but the majority."""
    judged = classifiers(result).items()
    return tuple(confusion_panel(model_name(name), one, result.classes) for name, one in judged)


def confusion_panel(name: str, judged: Judgement, classes: tuple[str, ...]) -> Panel:
    """A confusion matrix, headed ``name``: counts, and their shares of the row."""
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
            colour = theme.on(theme.heat(share[row, column])) if count else theme.faint
            label = f"{count}\n{share[row, column]:.0%}" if count else "0"
            axes.text(column, row, label, ha="center", va="center", color=colour, fontsize=8.5)

    right = f"{int(np.trace(counts)):,} of {int(counts.sum()):,} right"
    alt = f"Confusion matrix, {name}: {right}. The report has the numbers as tables, too."
    return Panel(f"{name}: {right}", alt, draw)


def reliable(result: TrainResult) -> dict[str, Reliability]:
    """Those that have probabilities."""
    judged = classifiers(result).items()
    return {name: one.reliability for name, one in judged if one.reliability is not None}


def reliability_panels(result: TrainResult) -> tuple[Panel, ...]:
    """How sure against how often right, a panel per judged model that has probabilities."""
    return tuple(_reliability_panel(name, found) for name, found in reliable(result).items())


def _reliability_panel(name: str, found: Reliability) -> Panel:
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
