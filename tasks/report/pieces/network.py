"""The models themselves: what the network looks at, its training, its size."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.report.pieces.naming import attended


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
        for modality, width in zip(modalities, weights.T, strict=True):
            colour = theme.modalities.get(modality, theme.grid)
            bars = axes.barh(range(len(by_class)), width, 0.78, left, color=colour, label=modality)
            shares = [f"{one:.0%}" if one >= 0.06 else "" for one in width]
            ink = theme.on(colour)
            axes.bar_label(bars, shares, label_type="center", color=ink, fontsize=8.5)
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
