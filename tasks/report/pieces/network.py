"""The models themselves: what the network looks at, its training, its size."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from meldflow.models.judging.records import Candidate
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.blocks import Block, Cell, Folded, Pictures, Row, Section, Table, Text
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.text import DASH, fraction, mebibytes
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.report.pieces.naming import attended, judged_part, rules

_BYTES = 4
"""Of a parameter, float32."""


def attention(result: TrainResult) -> Section | None:
    """How much the network looks at each modality."""
    modalities, by_class = attended(result)
    if not modalities:
        return None
    rows: list[Row] = [
        (label, *(Cell(f"{one:.1%}", share=one) for one in weights))
        for label, weights in by_class.items()
    ]
    head = (result.target.capitalize(), *modalities)
    table = Table("Mean weight, rows sum to 100 %", head, rows)
    return Section(
        "What the network looks at",
        f"Mean attention of the shown seed's network over the {judged_part(result)} utterances "
        f"of each true {result.target}. It says what was looked at, not what decided: a modality "
        "with little weight can still tip the balance.",
        (Pictures("attention"), Folded("The same as a table", (table,))),
    )


def training(result: TrainResult) -> Section:
    """How the shown seed's network was trained and its SVM chosen."""
    course = _course(result)
    return Section("Training", course, (Pictures("training"), *_svm(result)))


def _course(result: TrainResult) -> str:
    """How long training went, and which epoch was kept."""
    last, kept = result.shown.history[-1].epoch, result.shown.best_epoch
    if not rules(result).choose:
        return (
            f"Training ran all {last} epochs and the last one was kept: this protocol chooses "
            "nothing, so there is no dev curve."
        )
    stop = f"Training ran all {last} epochs"
    if last < result.config.epochs:
        stop = f"Dev stopped improving, so training ended after epoch {last}"
    return f"{stop}; the network of epoch {kept} was kept."


def _svm(result: TrainResult) -> tuple[Block, ...]:
    """The SVM that was taken, and those that were not."""
    chosen, grid = result.shown.svm_chosen, result.shown.svm_grid
    setting = f"C\u00a0=\u00a0{chosen.c:g}, gamma\u00a0=\u00a0{chosen.gamma:.3g}"
    sees = "The SVM (RBF kernel, balanced classes) sees the network's fused vector."
    if chosen.dev_weighted_f1 is None or len(grid) < 2:
        return (Text(f"{sees} Its setting was given: {setting}."),)
    table = Table(
        f"Every machine tried, each fitted on the {rules(result).fit_svm} rows alone",
        ("C", "Gamma", "Weighted F1 on dev"),
        [_candidate(one, chosen=one == chosen) for one in grid],
    )
    return (
        Text(f"{sees} Of {len(grid)} settings dev picked {setting}."),
        Folded("All SVM settings", (table,)),
    )


def _candidate(one: Candidate, *, chosen: bool) -> Row:
    f1 = one.dev_weighted_f1
    score = Cell(fraction(f1), "chosen" if chosen else "", f1)
    return Cell(f"{one.c:g}", strong=chosen), f"{one.gamma:.3g}", score


def summary(result: TrainResult) -> Section:
    """The network's layers and how large they are."""
    total = result.parameters
    size = mebibytes(total * _BYTES, digits=2)
    rows: list[Row] = [
        (
            Cell(one.name, one.kind),
            f"{one.parameters:,}",
            f"{100 * one.parameters / total:.1f} %" if total else DASH,
        )
        for one in result.layers
    ]
    whole = (Cell("all", size, strong=True), f"{total:,}", "100.0 %")
    head = ("Layer", "Parameters", "Share")
    return Section(
        "The network",
        f"{result.network.capitalize()} network: {total:,} trainable parameters, {size} at "
        f"{_BYTES} bytes each.",
        (Table("Layers; small print: their kind", head, (*rows, whole)),),
    )


def training_panels(result: TrainResult) -> tuple[Panel, ...]:
    """Loss and dev score of the shown seed's network by epoch; no dev where none is asked."""
    return (_loss_panel(result), *_score_panels(result))


def _epoch_axis(axes: Axes, theme: Theme, result: TrainResult) -> None:
    epochs = [epoch.epoch for epoch in result.shown.history]
    axes.axvline(
        result.shown.best_epoch, color=theme.faint, linewidth=1.2, linestyle="--", zorder=0
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlim=(min(epochs) - 0.5, max(epochs) + 0.5), xlabel="epoch")


def _loss_panel(result: TrainResult) -> Panel:
    history = result.shown.history

    def draw(axes: Axes, theme: Theme) -> None:
        for label, name, colour, marker in (
            ("train", "train_loss", theme.faint, "o"),
            ("dev", "dev_loss", theme.models["network"], "s"),
        ):
            known = [(e.epoch, y) for e in history if (y := getattr(e, name)) is not None]
            if known:
                x, y = zip(*known, strict=True)
                axes.plot(x, y, color=colour, marker=marker, markersize=3.5, label=label)
        axes.set_ylim(bottom=0)
        axes.set_ylabel("weighted cross-entropy")
        axes.legend(loc="best")
        _epoch_axis(axes, theme, result)

    first, last = history[0], history[-1]
    alt = f"Training loss goes from {first.train_loss:.2f} to {last.train_loss:.2f}"
    if first.dev_loss is not None and last.dev_loss is not None:
        alt += f", dev loss from {first.dev_loss:.2f} to {last.dev_loss:.2f}"
    return Panel("Loss", f"{alt} in {last.epoch} epochs.", draw)


def _score_panels(result: TrainResult) -> tuple[Panel, ...]:
    history, kept = result.shown.history, result.shown.best_epoch
    known = {e.epoch: e.dev_weighted_f1 for e in history if e.dev_weighted_f1 is not None}
    if not known:
        return ()
    best = known.get(kept, 0.0)

    def draw(axes: Axes, theme: Theme) -> None:
        colour = theme.models["network"]
        axes.plot(list(known), list(known.values()), color=colour, marker="s", markersize=3.5)
        axes.plot([kept], [best], "o", markersize=11, fillstyle="none", color=theme.ink)
        axes.set(ylim=(0, 1), ylabel="weighted F1 on dev")
        _epoch_axis(axes, theme, result)

    alt = f"Weighted F1 on dev by epoch; best {best:.2f} at epoch {kept}, which is kept."
    return (Panel(f"Weighted F1 on dev: epoch {kept} is kept", alt, draw),)


def attention_panels(result: TrainResult) -> tuple[Panel, ...]:
    """Mean weight of each modality by class; nothing where there was one to look at."""
    modalities, by_class = attended(result)
    if not modalities:
        return ()
    weights = np.array(list(by_class.values()))

    def draw(axes: Axes, theme: Theme) -> None:
        left = np.zeros(len(by_class))
        centred: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8.5}
        for modality, width in zip(modalities, weights.T, strict=True):
            colour = theme.modalities.get(modality, theme.grid)
            axes.barh(range(len(by_class)), width, 0.78, left, color=colour, label=modality)
            for row, (start, one) in enumerate(zip(left, width, strict=True)):
                if one >= 0.06:
                    place = start + one / 2
                    axes.text(place, row, f"{one:.0%}", color=theme.on(colour), **centred)
            left += width
        axes.set_yticks(range(len(by_class)), list(by_class))
        axes.invert_yaxis()
        axes.set(xlim=(0, 1), xlabel="mean weight")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        axes.legend(loc="upper center", bbox_to_anchor=(0.45, -0.14), ncols=len(modalities))

    means = zip(modalities, weights.mean(axis=0), strict=True)
    told = ", ".join(f"{name} {mean:.0%}" for name, mean in means)
    alt = f"Attention over modalities by {result.target}, mean weight over all: {told}."
    return (Panel("What the network looks at", alt, draw),)
