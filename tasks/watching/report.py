"""The report of a run, as the Markdown that the Prefect UI shows, its figures inside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.storage.writing.transaction import FailureRate
from meldflow.tasks.extraction.counts import Progress
from meldflow.tasks.isolated.child import ask_once
from meldflow.tasks.pages.templates import template
from meldflow.tasks.pages.text import duration
from meldflow.tasks.watching.words import code, how_far, size, text, times, trouble

DRAWS = "meldflow.tasks.watching.panels"
"""Where the figures are drawn, in a process of its own: pandas and Matplotlib would take 96 MB in
that of the flow, for good, and a fifth of what a run of a hundred thousand utterances needs."""

DRAW_SECONDS = 25.0

MAX_WORKERS = 32
"""Workers that the table of loads lists, the scheduler first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """Everything that the report says."""

    store: str
    run: str
    resumed: bool
    seconds: float
    """Wall clock, of the whole run."""
    snapshot: str = ""
    """What was published; empty where nothing was."""
    trouble: str = ""
    """Why the run ended early; empty where it did not."""
    utterances: int = 0
    """Utterances with something to extract."""
    progress: Progress | None = None
    """None where nothing was to be extracted."""
    rates: Sequence[FailureRate] = ()
    random_weights: Sequence[str] = ()
    keys: Mapping[str, str] = field(default_factory=dict)
    """Extractor → its key."""
    versions: Mapping[str, str] = field(default_factory=dict)
    load: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    """What ``LoadSeries.columns`` gives."""
    pace: Sequence[tuple[float, int]] = ()
    """Seconds and features done."""


def markdown(report: RunReport) -> str:
    """The report.

    Raises:
        RunError: its figures could not be drawn.
    """
    workers, pictures = _drawn(report)
    return template("watching/report.md.j2", text, code, size, duration, times).render(
        report=report,
        headline=headline(report),
        done=report.progress,
        workers=workers,
        max_workers=MAX_WORKERS,
        pictures=pictures,
        how_far=how_far,
        trouble=trouble,
    )


def headline(report: RunReport) -> str:
    """What came of the run, in a sentence."""
    if report.trouble:
        return f"The run ended early: {report.trouble}"
    if report.progress is None:
        return "Nothing was to be extracted: the store is up to date."
    rate = report.utterances / report.seconds if report.seconds else 0.0
    this = " in this try" if report.resumed else ""
    return (
        f"{report.utterances:,} utterances{this} in {duration(report.seconds)}, "
        f"{rate:,.1f} clips per second."
    )


def _drawn(report: RunReport) -> Any:
    """See ``panels.draw``; nothing where there is nothing to draw."""
    if not report.pace and not len(report.load.get("seconds", ())):
        return (), ()
    planned = report.progress.planned if report.progress is not None else 0
    return ask_once(DRAWS, "draw", (dict(report.load), report.pace, planned), DRAW_SECONDS)
