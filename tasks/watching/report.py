"""The report of a run, as the Markdown that the Prefect UI shows, its figures inside."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from meldflow.storage.writing.transaction import FailureRate
from meldflow.tasks.extraction.counts import Progress
from meldflow.tasks.pages.panels import Panel, render
from meldflow.tasks.watching.load import SCHEDULER
from meldflow.tasks.watching.panels import by_worker, load_panels, pace_panel
from meldflow.tasks.watching.words import code, how_far, roughly, size, table, text, trouble

MAX_WORKERS = 32
"""Workers that the table of loads lists."""

STAGES = (
    "Summed over all utterances. `load` is reading and decoding the clips; what workers took to "
    "load the networks' weights is not in it."
)
LOAD = (
    "Every few seconds, children included; CPU in per cent of one core. A worker is at work "
    "while it has a task."
)


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
    return "\n\n".join("\n".join(part) for part in _parts(report) if part)


def headline(report: RunReport) -> str:
    """What came of the run, in a sentence."""
    if report.trouble:
        return f"The run ended early: {report.trouble}"
    if report.progress is None:
        return "Nothing was to be extracted: the store is up to date."
    rate = report.utterances / report.seconds if report.seconds else 0.0
    return (
        f"{report.utterances:,} utterances in {roughly(report.seconds)}, "
        f"{rate:,.1f} clips per second."
    )


def _parts(report: RunReport) -> Iterator[list[str]]:
    yield [f"## {text(headline(report))}"]
    if report.random_weights:
        names = ", ".join(map(text, report.random_weights))
        yield [f"**Random weights:** {names}. What these extractors gave means nothing."]
    yield table(("", ""), _facts(report))
    if report.rates:
        yield ["### Extractors", "", *_extractors(report)]
    if report.progress is not None and report.progress.effort.seconds:
        yield ["### Where the time went", "", STAGES, "", *_stages(report.progress.effort.seconds)]
    if len(report.load.get("seconds", ())):
        yield ["### Load of the workers", "", LOAD, "", *_workers(report.load)]
    yield _pictures(report)
    if report.versions:
        rows = [(text(name), text(version)) for name, version in report.versions.items()]
        yield ["### Versions", "", *table(("package", "version"), rows)]


def _facts(report: RunReport) -> Iterator[tuple[str, str]]:
    yield "Store", code(report.store)
    yield "Run", code(report.run) + (" (resumed: an earlier try had died)" * report.resumed)
    yield "Snapshot", code(report.snapshot) if report.snapshot else "none: main did not move"
    yield "Time", roughly(report.seconds)
    done = report.progress
    if done is not None:
        rate = done.done / done.elapsed if done.elapsed else 0.0
        yield "Features", f"{how_far(done)}, {rate:,.1f} per second, {done.failed:,} failed"
        yield "Partitions", f"{done.partitions:,} of {done.planned_partitions:,} stored"
        yield "Retries", ", ".join(trouble(done.effort)) or "none"
        yield "Written", f"{size(done.effort.written_bytes)} of compressed features"


def _extractors(report: RunReport) -> list[str]:
    rows = (
        (
            code(report.keys.get(one.extractor, one.extractor)),
            f"{one.extracted:,}",
            f"{one.failed:,}",
            text(", ".join(f"{reason} {n:,}" for reason, n in one.reasons.items())),
        )
        for one in report.rates
    )
    return table(("extractor", "extracted", "failed", "reasons"), rows, right=" rr")


def _stages(seconds: Mapping[str, float]) -> list[str]:
    total = sum(seconds.values()) or 1.0
    rows = (
        (text(name), f"{one:,.1f}", f"{one / total:.0%}")
        for name, one in sorted(seconds.items(), key=lambda item: -item[1])
    )
    return table(("stage", "seconds on workers", "share"), rows, right=" rr")


def _workers(load: Mapping[str, NDArray[np.generic]]) -> list[str]:
    names, _, cpu = by_worker(load, "cpu")
    _, _, memory = by_worker(load, "memory")
    _, _, executing = by_worker(load, "executing")
    shown = [*names[:MAX_WORKERS], *(SCHEDULER for _ in names[MAX_WORKERS:] if SCHEDULER in names)]
    rows = []
    for name in dict.fromkeys(shown):
        i = names.index(name)
        busy = "" if name == SCHEDULER else f"{np.nanmean(executing[i] > 0):.0%}"
        rows.append(
            (
                text(name),
                f"{np.nanmean(cpu[i]):,.0f} %",
                f"{np.nanmax(cpu[i]):,.0f} %",
                size(np.nanmax(memory[i])),
                busy,
            )
        )
    lines = table(("worker", "CPU, mean", "CPU, most", "memory, most", "at work"), rows, " rrrr")
    more = len(names) - len(rows)
    return [*lines, "", f"and {more:,} more workers"] if more > 0 else lines


def _pictures(report: RunReport) -> list[str]:
    panels = []
    if len(report.pace) > 1 and report.progress is not None:
        panels.append(pace_panel(report.pace, report.progress.planned))
    if len(np.unique(report.load.get("seconds", np.empty(0)))) > 1:
        panels += load_panels(report.load)
    return [line for panel in panels for line in (inline(panel), "")]


def inline(panel: Panel) -> str:
    """A panel as an image inside Markdown."""
    address = "data:image/png;base64," + base64.b64encode(_small(render((panel,)))).decode()
    return f"![{text(panel.alt)}]({address})"


def _small(png: bytes) -> bytes:
    """The same picture with a palette: a third of the size, for it is a row in a data base."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").quantize(64).save(buffer, "png", optimize=True)
    return buffer.getvalue()
