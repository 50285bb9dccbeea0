"""Figures that set a result beside others: other rows, and less to go on."""

from __future__ import annotations

import re

import numpy as np
from matplotlib.axes import Axes

from meldflow.models.training.result import TrainResult
from meldflow.tasks.pages.panels import PANEL, Panel
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.report.figures.judged import confusion_panel
from meldflow.tasks.report.words import choices, judged_part, spoken


def protocol_panels(result: TrainResult) -> tuple[Panel, ...]:
    """The chosen classifier's confusions on its protocol's rows and on those beside."""
    shown, winner = result.shown, result.winner
    if not shown.beside:
        return ()
    parts = {judged_part(result): shown.judged, **shown.beside}
    name = spoken(result, winner)
    return tuple(
        confusion_panel(f"{name[:1].upper()}{name[1:]} on {part}", judged[winner], result.classes)
        for part, judged in parts.items()
    )


def ablation_panels(result: TrainResult) -> tuple[Panel, ...]:
    """Weighted F1 of every choice of modalities, of the whole and of the majority."""
    if not result.ablations:
        return ()
    lines = choices(result)
    names = [line.name for line in lines]
    means = np.array([line.judged["weighted_f1"].mean for line in lines])
    sds = np.array([line.judged["weighted_f1"].sd or 0.0 for line in lines])

    def draw(axes: Axes, theme: Theme) -> None:
        places = np.arange(len(lines))
        colours = [theme.models.get(line.model, theme.faint) for line in lines]
        bars = axes.barh(places, means, 0.72, color=colours)
        for bar, line in zip(bars, lines, strict=True):
            bar.set_alpha(1.0 if line.whole else 0.62)
        told = sds > 0
        axes.errorbar(
            means[told], places[told], xerr=sds[told], fmt="none", ecolor=theme.ink, capsize=3,
            elinewidth=1.3,
        )  # fmt: skip
        for place, mean, sd in zip(places, means, sds, strict=True):
            axes.text(mean + sd + 0.012, float(place), f"{mean:.3f}", va="center", fontsize=9)
        axes.set_yticks(places, [_two_lines(name) for name in names])
        axes.invert_yaxis()
        axes.set(xlim=(0, min(1.12, float((means + sds).max()) * 1.12 + 0.06)))
        axes.set_xlabel(f"weighted F1 on {judged_part(result)}, mean over the seeds")
        axes.grid(visible=False, axis="y")
        axes.tick_params(axis="y", length=0)

    told = ", ".join(f"{name} {mean:.2f}" for name, mean in zip(names, means, strict=True))
    height = max(3.5, 0.42 * len(lines) + 1.2)
    return (
        Panel(
            title="Weighted F1 by what it goes on",
            alt=f"Weighted F1 on {judged_part(result)} by what the model goes on: {told}.",
            draw=draw,
            aspect=PANEL[0] / height,
        ),
    )


def _two_lines(name: str) -> str:
    """A long name broken after what it is, so that the bars keep their room on a phone."""
    parts = re.split(r"([,:]) ", name, maxsplit=1)
    return name if len(name) < 18 or len(parts) == 1 else "{}{}\n{}".format(*parts)
