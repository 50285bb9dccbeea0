"""The training report's figures: each is a tuple of panels, drawn for a light and a dark page."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from models.judging.records import Judgement, TrainResult
from models.schema import EMOTIONS
from tasks.report.blocks import model_name
from tasks.report.panels import Panel
from tasks.report.themes import Theme

_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
"""A line style per emotion, so that no curve is told by its colour alone."""


def confusion_panels(result: TrainResult) -> tuple[Panel, ...]:
    """True against predicted emotion, a panel per judged model but the majority."""
    return tuple(_confusion_panel(name, one) for name, one in _classifiers(result))


def _confusion_panel(name: str, judged: Judgement) -> Panel:
    counts = np.array(judged.confusion)
    total = counts.sum(axis=1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)

    def draw(axes: Axes, theme: Theme) -> None:
        axes.imshow(share, cmap=theme.heat, vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(EMOTIONS)), EMOTIONS, rotation=40, ha="right")
        axes.set_yticks(range(len(EMOTIONS)), EMOTIONS)
        axes.set(xlabel="predicted", ylabel="true")
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        for (row, column), count in np.ndenumerate(counts):
            colour = theme.on_heat(share[row, column]) if count else theme.faint
            label = f"{count}\n{share[row, column]:.0%}" if count else "0"
            axes.text(column, row, label, ha="center", va="center", color=colour, fontsize=8.5)

    right = f"{int(np.trace(counts))} of {int(counts.sum())} right"
    alt = f"Confusion matrix of the {model_name(name)}: {right}. The table below has the numbers."
    return Panel(title=f"{model_name(name)}: {right}", alt=alt, draw=draw)


def roc_panels(result: TrainResult) -> tuple[Panel, ...]:
    """One-versus-rest ROC, a panel per judged model that has scores."""
    return tuple(_roc_panel(name, one) for name, one in _classifiers(result))


def _roc_panel(name: str, judged: Judgement) -> Panel:
    def draw(axes: Axes, theme: Theme) -> None:
        axes.plot([0, 1], [0, 1], color=theme.faint, linewidth=1)
        for curve, colour, style in zip(judged.roc, theme.emotions, _STYLES, strict=True):
            if curve.auc is not None:
                axes.plot(
                    curve.false_positive_rate,
                    curve.true_positive_rate,
                    color=colour,
                    linestyle=style,
                    linewidth=1.9,
                    label=f"{curve.emotion}  {curve.auc:.2f}",
                )
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
        axes.set(xlabel="false positive rate", ylabel="true positive rate")
        if any(curve.auc is not None for curve in judged.roc):
            axes.legend(title="emotion  AUC", loc="lower right", handlelength=2.6)

    known = [f"{c.emotion} {c.auc:.2f}" for c in judged.roc if c.auc is not None]
    alt = (
        f"ROC curves of the {model_name(name)}, area under the curve: {', '.join(known) or 'none'}."
    )
    return Panel(title=model_name(name), alt=alt, draw=draw)


def training_panels(result: TrainResult) -> tuple[Panel, ...]:
    """Loss and dev score of the network by epoch."""
    epochs = [epoch.epoch for epoch in result.history]
    best = result.history[result.best_epoch - 1]

    def epoch_axis(axes: Axes, theme: Theme) -> None:
        axes.axvline(best.epoch, color=theme.faint, linewidth=1.2, linestyle="--", zorder=0)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
        axes.set_xlabel("epoch")

    def loss(axes: Axes, theme: Theme) -> None:
        for label, name, colour, marker in (
            ("train", "train_loss", theme.faint, "o"),
            ("dev", "dev_loss", theme.models["network"], "s"),
        ):
            values = [getattr(epoch, name) for epoch in result.history]
            axes.plot(epochs, values, color=colour, marker=marker, markersize=3.5, label=label)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("weighted cross-entropy")
        axes.legend(loc="best")
        epoch_axis(axes, theme)

    def score(axes: Axes, theme: Theme) -> None:
        values = [epoch.dev_weighted_f1 for epoch in result.history]
        axes.plot(epochs, values, color=theme.models["network"], marker="s", markersize=3.5)
        axes.plot(
            [best.epoch], [best.dev_weighted_f1], "o", markersize=11, fillstyle="none",
            color=theme.ink,
        )  # fmt: skip
        axes.set_ylim(0, 1)
        axes.set_ylabel("weighted F1 on dev")
        epoch_axis(axes, theme)

    first, last = result.history[0], result.history[-1]
    return (
        Panel(
            title="Loss",
            alt=f"Training loss falls from {first.train_loss:.2f} to {last.train_loss:.2f}, dev "
            f"loss goes from {first.dev_loss:.2f} to {last.dev_loss:.2f} in {last.epoch} epochs.",
            draw=loss,
        ),
        Panel(
            title=f"Weighted F1 on dev: epoch {best.epoch} is kept",
            alt=f"Weighted F1 on dev by epoch; best {best.dev_weighted_f1:.2f} at epoch "
            f"{best.epoch}, which is kept.",
            draw=score,
        ),
    )


def per_emotion_panels(result: TrainResult) -> tuple[Panel, ...]:
    """F1 by emotion, a bar per model."""
    models = _classifiers(result)

    def draw(axes: Axes, theme: Theme) -> None:
        height = 0.8 / len(models)
        for i, (name, judged) in enumerate(models):
            places = np.arange(len(EMOTIONS)) + (i - (len(models) - 1) / 2) * height
            values = [one.f1 or 0.0 for one in judged.per_emotion]
            colour = theme.models.get(name, theme.faint)
            axes.barh(places, values, height * 0.9, color=colour, label=model_name(name))
            for place, one in zip(places, judged.per_emotion, strict=True):
                text = "none in test" if one.f1 is None else f"{one.f1:.2f}"
                axes.text((one.f1 or 0) + 0.012, place, text, va="center", fontsize=8)
        counts = [one.total for one in models[0][1].per_emotion]
        labels = [f"{emotion} ({n})" for emotion, n in zip(EMOTIONS, counts, strict=True)]
        axes.set_yticks(range(len(EMOTIONS)), labels)
        axes.invert_yaxis()
        axes.set(xlim=(0, 1.08), xlabel="F1 on test (number of utterances in brackets)")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.4, -0.14), ncols=2)

    alt = "F1 by emotion. " + " ".join(
        f"{model_name(name)}: "
        + ", ".join(f"{e.emotion} {e.f1:.2f}" for e in judged.per_emotion if e.f1 is not None)
        + "."
        for name, judged in models
    )
    return (Panel(title="F1 by emotion", alt=alt, draw=draw),)


def _classifiers(result: TrainResult) -> list[tuple[str, Judgement]]:
    """The judged models that have scores of their own (all but the majority)."""
    return [(name, one) for name, one in result.judged.items() if one.roc]


FIGURES: Mapping[str, Callable[[TrainResult], tuple[Panel, ...]]] = {
    "confusion": confusion_panels,
    "per_emotion": per_emotion_panels,
    "roc": roc_panels,
    "training": training_panels,
}
"""File stem → its panels. A new figure is one function and one line here."""
