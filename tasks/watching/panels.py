"""The run report's figures: how fast it went, how loaded the workers were."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.themes import Theme
from meldflow.tasks.watching.load import SCHEDULER
from meldflow.tasks.watching.words import roughly

SIZE = (7.0, 2.7)
"""Inches: text stays readable in the column that the Prefect UI has for it."""
NAMED = 7
"""Workers that get a line of their own; of more, the middle and the range are drawn."""

_STYLES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Strip(Panel):
    """A low, wide panel: something over time."""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, inches."""
        return SIZE


Columns: TypeAlias = Mapping[str, NDArray[np.generic]]


def pace_panel(points: Sequence[tuple[float, int]], planned: int) -> Panel:
    """Features done over time."""
    seconds, done = np.array(points, dtype=np.float64).T
    times, unit = _in_units(seconds)

    def draw(axes: Axes, theme: Theme) -> None:
        axes.plot(times, done, color=theme.models["network"])
        axes.axhline(planned, color=theme.faint, linewidth=1.2, linestyle="--")
        axes.set(ylabel="features", ylim=(0, planned * 1.08))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
        _time_axis(axes, times, unit)

    return Strip(
        title="Features done",
        alt=f"Features done over time: {int(done[-1]):,} of {planned:,} after "
        f"{roughly(seconds[-1])}.",
        draw=draw,
    )


def load_panels(columns: Columns) -> tuple[Panel, ...]:
    """CPU, memory, and tasks at hand, by worker over time."""
    cpu = _panel(columns, "cpu", "CPU, % of a core", 1.0)
    memory = _panel(columns, "memory", "memory, GB", 1e9)
    return cpu, memory, _tasks_panel(columns)


def _panel(columns: Columns, measure: str, label: str, scale: float) -> Panel:
    names, seconds, values = by_worker(columns, measure)
    values = values / scale
    times, unit = _in_units(seconds)
    own = [i for i, name in enumerate(names) if name != SCHEDULER]

    def draw(axes: Axes, theme: Theme) -> None:
        if len(own) > NAMED:
            low, middle, high = _spread(values[own])
            colour = theme.models["network"]
            axes.fill_between(times, low, high, color=colour, alpha=0.2, linewidth=0)
            axes.plot(times, middle, color=colour, label=f"median of {len(own):,} workers")
        else:
            for place, i in enumerate(own):
                colour, style = theme.emotions[1:][place % 6], _STYLES[place % len(_STYLES)]
                axes.plot(times, values[i], color=colour, linestyle=style, label=names[i])
        if SCHEDULER in names:
            line = values[names.index(SCHEDULER)]
            axes.plot(times, line, color=theme.faint, linewidth=1.3, label=SCHEDULER)
        _frame(axes, label, times, unit)

    mean = np.nanmean(values[own]) if own else 0.0
    title, _, unit_of_measure = label.partition(", ")
    return Strip(
        title=f"{title[0].upper()}{title[1:]}: {mean:,.3g} {unit_of_measure} per worker on average",
        alt=f"{label} of {len(own):,} workers over time, {mean:,.3g} on average.",
        draw=draw,
    )


def _tasks_panel(columns: Columns) -> Panel:
    _, seconds, _ = by_worker(columns, "executing")
    executing, waiting = (
        np.nansum(by_worker(columns, measure)[2], axis=0) for measure in ("executing", "waiting")
    )
    times, unit = _in_units(seconds)

    def draw(axes: Axes, theme: Theme) -> None:
        colours = theme.models
        axes.plot(times, executing, color=colours["network"], label="executing")
        axes.plot(times, waiting, color=colours["svm"], linestyle="--", label="waiting")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        _frame(axes, "tasks", times, unit)

    return Strip(
        title="Tasks on all workers",
        alt=f"Tasks over time: {executing.mean():.1f} executing on average.",
        draw=draw,
    )


def by_worker(
    columns: Columns, measure: str
) -> tuple[list[str], NDArray[np.float64], NDArray[np.float64]]:
    """Names, times (n_times,) and values (n_workers, n_times); NaN where a worker was not there."""
    names, worker = np.unique(columns["worker"].astype(str), return_inverse=True)
    seconds, time = np.unique(columns["seconds"].astype(np.float64), return_inverse=True)
    values = np.full((len(names), len(seconds)), np.nan)
    values[worker, time] = columns[measure]
    order = sorted(
        range(len(names)), key=lambda i: (names[i] == SCHEDULER, len(names[i]), names[i])
    )
    return [str(names[i]) for i in order], seconds, values[order]


def _spread(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], ...]:
    """Lowest, median and highest of the workers at each time, shape (n_times,) each."""
    filled = np.where(np.isnan(values).all(axis=0), 0.0, values)
    return np.nanmin(filled, axis=0), np.nanmedian(filled, axis=0), np.nanmax(filled, axis=0)


def _in_units(seconds: NDArray[np.float64]) -> tuple[NDArray[np.float64], str]:
    """Times that read well, and the name of their unit."""
    units = ((3600, "hours"), (60, "minutes"))
    size, name = next((one for one in units if seconds.max() >= 2 * one[0]), (1, "seconds"))
    return seconds / size, name


def _time_axis(axes: Axes, times: NDArray[np.float64], unit: str) -> None:
    axes.set_xlim(0, max(times.max(), 0.1))
    axes.set_xlabel(f"{unit} since the first partition")


def _frame(axes: Axes, label: str, times: NDArray[np.float64], unit: str) -> None:
    axes.set(ylabel=label)
    axes.set_ylim(bottom=0)
    _time_axis(axes, times, unit)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
