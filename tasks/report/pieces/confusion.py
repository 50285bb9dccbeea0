"""What is taken for what: a matrix per classifier."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from meldflow.models.judging.records import Judgement
from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.report.pieces.naming import classifiers, model_name


def panels(result: TrainResult) -> tuple[Panel, ...]:
    """True against predicted class, a panel per judged model but the majority."""
    judged = classifiers(result).items()
    return tuple(panel(model_name(name), one, result.classes) for name, one in judged)


def panel(name: str, judged: Judgement, classes: tuple[str, ...]) -> Panel:
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
