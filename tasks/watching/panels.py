"""The run report's figures: how fast it went, how loaded the workers were."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.text import duration
from meldflow.tasks.pages.themes import LINE_STYLES, Theme
from meldflow.tasks.watching.load import SCHEDULER, LoadTable

SIZE = (7.0, 2.7)
"""Inches: text stays readable in the column that the Prefect UI has for it."""
NAMED = 7
"""Workers that get a line of their own; of more, the middle and the range are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip(Panel):
    """A low, wide panel: something over time."""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, inches."""
        return SIZE


def pace_panel(points: Sequence[tuple[float, int]], planned: int) -> Panel:
    """Features done over time."""
    seconds, done = np.array(points, dtype=np.float64).T

    def draw(axes: Axes, theme: Theme) -> None:
        axes.plot(_times(axes, seconds), done, color=theme.models["network"])
        axes.axhline(planned, color=theme.faint, linewidth=1.2, linestyle="--")
        axes.set(ylabel="features", ylim=(0, planned * 1.08))
        axes.yaxis.set_major_formatter("{x:,.0f}")

    return Strip(
        title="Features done",
        alt=f"Features done over time: {int(done[-1]):,} of {planned:,} after "
        f"{duration(seconds[-1])}.",
        draw=draw,
    )


def load_panels(load: LoadTable) -> tuple[Panel, ...]:
    """CPU, memory, and tasks at hand, by worker over time."""
    cpu = _panel(load, "cpu", 1, "CPU", "% of a core")
    memory = _panel(load, "memory", 1e9, "memory", "GB")
    return cpu, memory, _tasks_panel(load)


def _panel(load: LoadTable, measure: str, scale: float, what: str, unit: str) -> Panel:
    own = load.own
    values = own[measure] / scale

    def draw(axes: Axes, theme: Theme) -> None:
        times = _times(axes, own.seconds)
        if len(own.workers) > NAMED:
            colour, middle = theme.models["network"], f"median of {len(own.workers):,} workers"
            low, high = np.nanmin(values, axis=1), np.nanmax(values, axis=1)
            axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(times, np.nanmedian(values, axis=1), color=colour, label=middle)
        else:
            look = zip(own.workers, values.T, theme.emotions[1:] * 2, LINE_STYLES, strict=False)
            for name, of_one, colour, style in look:
                axes.plot(times, of_one, color=colour, linestyle=style, label=name)
        if SCHEDULER in load.workers:
            line = load[measure][:, load.workers.index(SCHEDULER)] / scale
            times = _times(axes, load.seconds)
            axes.plot(times, line, color=theme.faint, linewidth=1.3, label=SCHEDULER)
        _frame(axes, f"{what}, {unit}")

    mean = np.nanmean(values) if values.size else 0.0
    return Strip(
        title=f"{what[0].upper()}{what[1:]}: {mean:,.3g} {unit} per worker on average",
        alt=f"{what}, {unit} of {len(own.workers):,} workers over time, {mean:,.3g} on average.",
        draw=draw,
    )


def _tasks_panel(load: LoadTable) -> Panel:
    executing, waiting = (np.nansum(load[name], axis=1) for name in ("executing", "waiting"))

    def draw(axes: Axes, theme: Theme) -> None:
        times, colours = _times(axes, load.seconds), theme.models
        axes.plot(times, executing, color=colours["network"], label="executing")
        axes.plot(times, waiting, color=colours["svm"], linestyle="--", label="waiting")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _frame(axes, "tasks")

    return Strip(
        title="Tasks on all workers",
        alt=f"Tasks over time: {executing.mean():.1f} executing on average.",
        draw=draw,
    )


def _times(axes: Axes, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times in a unit that reads well, which the axis below them names."""
    units = ((3600, "hours"), (60, "minutes"))
    size, name = next((one for one in units if seconds.max() >= 2 * one[0]), (1, "seconds"))
    axes.set_xlim(0, max(seconds.max() / size, 0.1))
    axes.set_xlabel(f"{name} since the first partition")
    return seconds / size


def _frame(axes: Axes, label: str) -> None:
    axes.set(ylabel=label)
    axes.set_ylim(bottom=0)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
