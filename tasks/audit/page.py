"""The audit's report: what is wrong with a data set, and what is done about it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np

from meldflow.models.files import write_atomically
from meldflow.models.running.hardware import describe_versions
from meldflow.tasks.audit.durations import duration_panels, known_seconds
from meldflow.tasks.audit.stock import AuditReport, overview
from meldflow.tasks.dataset.checks import PUBLISHED
from meldflow.tasks.dataset.findings import Finding, Kind
from meldflow.tasks.pages.blocks import (
    Cell,
    Code,
    Facts,
    Folded,
    Pictures,
    Row,
    Section,
    Table,
    Text,
)
from meldflow.tasks.pages.document import Document, render_document
from meldflow.tasks.pages.text import DASH, duration, mebibytes

SHOWN = 200
"""Findings of a kind that the page lists; the JSON has all of them."""


def write_page(report: AuditReport, file: Path) -> Path:
    """The report as one HTML page.

    Raises:
        OSError: it cannot be written.
    """
    return write_atomically(file, render_document(document(report)).encode())


def document(report: AuditReport) -> Document:
    """What the page says."""
    built = {
        "findings": _findings(report),
        "counts": _counts(report),
        "durations": _durations(report),
        "details": _details(report),
        "fixes": _fixes(report),
        "provenance": _provenance(report),
    }
    sections = {anchor: section for anchor, section in built.items() if section is not None}
    return Document(
        eyebrow=f"audit · {report.options.dataset}",
        title=f"{report.headline()}.",
        lead="Nothing was changed on disk, and no row was dropped: each finding says what an "
        "extraction will make of it.",
        sections=sections,
        figures={"durations": duration_panels(report.intake.utterances)}
        if "durations" in sections
        else {},
    )


def _findings(report: AuditReport) -> Section:
    table = overview(report)
    return Section(
        "What was found",
        "Known is what the list of defects of the published MELD names; the rest is news.",
        (table if table.rows else Text("Nothing."),),
    )


def _counts(report: AuditReport) -> Section:
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
    return Section(
        "Counts",
        "Beside the counts of MELD's published annotation files; ≠ marks what differs.",
        (Table("Small print: the published count", ("Count", *splits), rows),),
    )


def _count(number: int, published: int | None) -> Cell:
    if published is None:
        return Cell(f"{number:,}")
    return Cell(f"{'' if number == published else '≠ '}{number:,}", f"{published:,}")


def _details(report: AuditReport) -> Section | None:
    blocks = [_folded(kind, findings) for kind, findings in report.by_kind.items()]
    lead = "News first. The JSON (--json) has every finding."
    return Section("One by one", lead, blocks) if blocks else None


def _folded(kind: Kind, findings: Sequence[Finding]) -> Folded:
    rows = [(one.subject, one.detail, one.decision, one.known or DASH) for one in findings[:SHOWN]]
    head = ("About", "What was seen", "What is done", "Known as")
    more = len(findings) - len(rows)
    rest = [Text(f"And {more:,} more; the JSON has them.")] if more else []
    table = Table(kind.meaning, head, rows, "prose")
    return Folded(f"{kind.words}: {len(findings):,}", (table, *rest))


def _durations(report: AuditReport) -> Section | None:
    pairs = known_seconds(report.intake.utterances)
    if not len(pairs):
        return None
    apart = np.abs(pairs[:, 1] - pairs[:, 0])
    near = int((apart <= 0.1).sum())
    return Section(
        "Durations",
        f"{near:,} of {len(pairs):,} clips are within 0.1 s of their rows; half of them within "
        f"{np.median(apart):.3f} s. On the left, clips on the line agree; on the right, the count "
        "is on a logarithmic axis, so that single clips are seen.",
        (Pictures("durations"),),
    )


def _fixes(report: AuditReport) -> Section | None:
    fixes, version = report.intake.fixes, report.intake.fixes_version
    if not fixes:
        return None
    rows = [
        (Cell(one.id, one.kind), one.utterance, one.why, Cell(one.source, href=one.source))
        for one in fixes
    ]
    head = ("Entry", "Utterance", "Why", "Source")
    return Section(
        "Known defects that apply here",
        f"From the list of known defects of the published MELD, version {version}; --no-fixes "
        "leaves it aside.",
        (Table(f"{len(fixes)} entries", head, rows, "prose"),),
    )


def _provenance(report: AuditReport) -> Section:
    cost = {
        "Run time": duration(report.seconds),
        "Peak memory": mebibytes(report.peak_memory_bytes),
        **{f"Clips {what.replace('_', ' ')}": f"{n:,}" for what, n in report.clips.items()},
    }
    return Section(
        "Where this comes from",
        blocks=(
            Code("Repeat this audit", _command(report)),
            Facts("Cost", cost),
            Facts("Annotation files read", {one.name: str(one) for one in report.intake.files}),
            Facts("Versions", describe_versions()),
        ),
    )


def _command(report: AuditReport) -> str:
    options = report.options
    flags = {"--annotations-only": options.annotations_only, "--no-fixes": not options.fixes}
    given = (flag for flag, wanted in flags.items() if wanted)
    return shlex.join(["meldflow", "audit", str(options.dataset), *given, "--html", "audit.html"])
