"""The audit's report: what is wrong with a data set, and what is done about it."""

import shlex
from itertools import chain
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from meldflow.models.files import write_atomically
from meldflow.models.running.hardware import describe_versions
from meldflow.models.schema.utterances import Utterance
from meldflow.storage.format.columns import Records
from meldflow.tasks.audit.stock import AuditReport, overview
from meldflow.tasks.dataset.checks import PUBLISHED
from meldflow.tasks.pages.panels import Panel, render_document
from meldflow.tasks.pages.text import duration, mebibytes
from meldflow.tasks.pages.themes import Theme

SHOWN = 200
"""Findings of a kind that the page lists; the JSON has all of them."""
SHORTEST = 0.01
"""Seconds; rows at or below it, zero and negative ones too, are drawn there."""
NEAR = 1.0
"""Seconds; clips that differ by more are counted in the outermost bars."""
BARS = 41


def write_page(report: AuditReport, file: Path) -> Path:
    """The report as one HTML page.

    Raises:
        OSError: it cannot be written.
    """
    return write_atomically(file, render_page(report).encode())


def render_page(report: AuditReport) -> str:
    """The page as a string: styles and pictures inside, nothing fetched."""
    counts = {split: one.by_name for split, one in report.intake.splits.items()}
    pairs = known_seconds(report.intake.utterances)
    return render_document(
        "audit/audit.html.j2",
        {"durations": duration_panels(pairs)} if len(pairs) else {},
        report=report,
        overview=overview(report),
        counts=counts,
        named=dict.fromkeys(chain.from_iterable(counts.values())),
        published={split: one.by_name for split, one in PUBLISHED.items()},
        shown=SHOWN,
        apart=np.abs(pairs[:, 1] - pairs[:, 0]),
        median=np.median,
        command=_command(report),
        provenance=_provenance(report),
    )


def _provenance(report: AuditReport) -> dict[str, dict[str, str]]:
    cost = {
        "Run time": duration(report.seconds),
        "Peak memory": mebibytes(report.peak_memory_bytes),
        **{f"Clips {what.replace('_', ' ')}": f"{n:,}" for what, n in report.clips.items()},
    }
    files = {one.name: str(one) for one in report.intake.files}
    return {"Cost": cost, "Annotation files read": files, "Versions": describe_versions()}


def _command(report: AuditReport) -> str:
    options = report.options
    flags = {"--annotations-only": options.annotations_only, "--no-fixes": not options.fixes}
    given = (flag for flag, wanted in flags.items() if wanted)
    return shlex.join(["meldflow", "audit", str(options.dataset), *given, "--html", "audit.html"])


def known_seconds(utterances: Records[Utterance]) -> NDArray[np.float64]:
    """Seconds by row and by header, shape (n, 2), where both say something."""
    both = [utterances.columns[name] for name in ("seconds", "clip_seconds")]
    pairs: NDArray[np.float64] = np.stack(both, axis=1)
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
            axis.set_major_formatter("{x:g}")

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
        axes.yaxis.set_major_formatter("{x:,g}")

    middle = float(np.median(difference))
    far = int((np.abs(difference) > NEAR).sum())
    return Panel(
        "How far they are apart",
        f"Histogram of the clip's duration minus the row's: median {middle:+.2f} s; {far:,} of "
        f"{len(difference):,} clips differ by more than {NEAR:g} s.",
        draw,
    )
