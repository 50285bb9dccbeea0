"""The audit's figure: how long the clips are, against what their rows say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from meldflow.models.schema.utterances import Utterance
from meldflow.tasks.pages.panels import Panel
from meldflow.tasks.pages.themes import Theme

SHORTEST = 0.01
"""Seconds; rows at or below it, zero and negative ones too, are drawn there."""
NEAR = 1.0
"""Seconds; clips that differ by more are counted in the outermost bars."""
BARS = 41


def known_seconds(utterances: Sequence[Utterance]) -> NDArray[np.float64]:
    """Seconds by row and by header, shape (n, 2), where both say something."""
    both = [(one.seconds, one.clip.seconds) for one in utterances]
    pairs: NDArray[np.float64] = np.array(both).reshape(-1, 2)
    return pairs[np.isfinite(pairs).all(axis=1)]


def duration_panels(pairs: NDArray[np.float64]) -> tuple[Panel, ...]:
    """Clip against row, and how far they are apart, of ``known_seconds``."""
    return _against(pairs), _apart(pairs[:, 1] - pairs[:, 0])


def _against(pairs: NDArray[np.float64]) -> Panel:
    def draw(axes: Axes, theme: Theme) -> None:
        row, clip = np.maximum(pairs, SHORTEST).T
        ends = (SHORTEST * 0.7, max(row.max(), clip.max()) * 1.5)
        axes.plot(ends, ends, color=theme.faint, linewidth=1, zorder=1)
        colour = theme.models["network"]
        axes.scatter(row, clip, s=9, alpha=0.45, linewidths=0, color=colour, zorder=2)
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        axes.set(xlabel="seconds by the row", ylabel="seconds by the clip's header")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))

    return Panel(
        "Each clip against its row",
        f"Scatter plot of {len(pairs):,} clips: seconds by the row against seconds by the "
        "clip's header, on logarithmic axes. Clips on the diagonal agree.",
        draw,
    )


def _apart(difference: NDArray[np.float64]) -> Panel:
    def draw(axes: Axes, theme: Theme) -> None:
        edges = np.linspace(-NEAR, NEAR, BARS + 1)
        inside = np.clip(difference, -NEAR, NEAR)
        axes.hist(inside, bins=edges.tolist(), color=theme.models["network"])
        axes.set(yscale="log", ylim=(0.7, None), xlabel="clip minus row, seconds", ylabel="clips")
        axes.set_xticks((-1, -0.5, 0, 0.5, 1), ("−1 or less", "−0.5", "0", "0.5", "1 or more"))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))

    middle = float(np.median(difference))
    far = int((np.abs(difference) > NEAR).sum())
    return Panel(
        "How far they are apart",
        f"Histogram of the clip's duration minus the row's: median {middle:+.2f} s; {far:,} of "
        f"{len(difference):,} clips differ by more than {NEAR:g} s.",
        draw,
    )
