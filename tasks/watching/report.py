"""The report of a run, as the Markdown that the Prefect UI shows, its figures inside."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meldflow.storage.writing.transaction import FailureRate
from meldflow.tasks.extraction.counts import Progress
from meldflow.tasks.pages.panels import Panel, render
from meldflow.tasks.pages.templates import template
from meldflow.tasks.pages.text import duration
from meldflow.tasks.watching.load import LoadTable
from meldflow.tasks.watching.panels import load_panels, pace_panel
from meldflow.tasks.watching.words import code, how_far, size, text, times, trouble

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
    """The report."""
    load = LoadTable.of(report.load)
    return template("watching/report.md.j2", text, code, size, duration, times).render(
        report=report,
        headline=headline(report),
        done=report.progress,
        workers=_workers(load),
        max_workers=MAX_WORKERS,
        panels=list(_panels(report, load)),
        picture=picture,
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


def _workers(load: LoadTable) -> list[dict[str, Any]]:
    """How busy each worker was, the scheduler first."""
    cpu, memory, executing = (load[name].T for name in ("cpu", "memory", "executing"))
    at_work = np.where(np.isnan(executing), np.nan, executing > 0)
    return [
        {
            "worker": name,
            "cpu": np.nanmean(cpu[n]),
            "most_cpu": np.nanmax(cpu[n]),
            "most_memory": np.nanmax(memory[n]),
            "at_work": np.nanmean(at_work[n]),
        }
        for n, name in enumerate(load.workers)
    ]


def _panels(report: RunReport, load: LoadTable) -> Iterator[Panel]:
    if len(report.pace) > 1 and report.progress is not None:
        yield pace_panel(report.pace, report.progress.planned)
    if len(load.seconds) > 1:
        yield from load_panels(load)


def picture(panel: Panel) -> str:
    """A panel as the address of an image, for Markdown."""
    buffer = io.BytesIO()
    # With a palette it has a third of the size, for it is a row in a data base.
    drawn = Image.open(io.BytesIO(render((panel,))))
    drawn.convert("RGB").quantize(64).save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
