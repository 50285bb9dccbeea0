"""The audit's report: what is wrong with a data set, and what is done about it."""

from __future__ import annotations

import shlex
from itertools import chain
from pathlib import Path

import numpy as np

from meldflow.models.files import write_atomically
from meldflow.models.running.hardware import describe_versions
from meldflow.tasks.audit.durations import duration_panels, known_seconds
from meldflow.tasks.audit.stock import AuditReport, overview
from meldflow.tasks.dataset.checks import PUBLISHED
from meldflow.tasks.pages.blocks import Cell, Row, Table
from meldflow.tasks.pages.document import render_document
from meldflow.tasks.pages.text import duration, mebibytes

SHOWN = 200
"""Findings of a kind that the page lists; the JSON has all of them."""


def write_page(report: AuditReport, file: Path) -> Path:
    """The report as one HTML page.

    Raises:
        OSError: it cannot be written.
    """
    return write_atomically(file, render_page(report).encode())


def render_page(report: AuditReport) -> str:
    """The page as a string: styles and pictures inside, nothing fetched."""
    pairs = known_seconds(report.intake.utterances)
    return render_document(
        "audit/audit.html.j2",
        {"durations": duration_panels(pairs)} if len(pairs) else {},
        report=report,
        overview=overview(report),
        counts=_counts(report),
        shown=SHOWN,
        apart=np.abs(pairs[:, 1] - pairs[:, 0]),
        median=np.median,
        command=_command(report),
        provenance=_provenance(report),
    )


def _counts(report: AuditReport) -> Table:
    splits = {split: one.by_name for split, one in report.intake.splits.items()}
    published = {split: one.by_name for split, one in PUBLISHED.items()}
    rows: list[Row] = [
        (
            name,
            *(
                _count(counts.get(name, 0), published.get(split, {}).get(name))
                for split, counts in splits.items()
            ),
        )
        for name in dict.fromkeys(chain.from_iterable(splits.values()))
    ]
    return Table("Small print: the published count", ("Count", *splits), rows)


def _count(number: int, published: int | None) -> Cell:
    if published is None:
        return Cell(f"{number:,}")
    return Cell(f"{'' if number == published else '≠ '}{number:,}", f"{published:,}")


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
