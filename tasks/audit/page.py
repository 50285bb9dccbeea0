"""The audit's report: what is wrong with a data set, and what is done about it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from meldflow.models.files import write_atomically
from meldflow.models.running.hardware import describe_versions
from meldflow.tasks.audit.durations import duration_panels, known_seconds
from meldflow.tasks.audit.stock import AuditReport
from meldflow.tasks.dataset.checks import PUBLISHED
from meldflow.tasks.dataset.findings import MEANING, Finding, Kind
from meldflow.tasks.dataset.records import SplitCounts
from meldflow.tasks.pages.blocks import (
    DASH,
    Cell,
    Code,
    Facts,
    Folded,
    Pictures,
    Row,
    Section,
    Table,
    Text,
    duration,
)
from meldflow.tasks.pages.document import Document, render_document

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
        figures={"durations": duration_panels(report.intake.durations)}
        if "durations" in sections
        else {},
    )


def _findings(report: AuditReport) -> Section:
    splits = report.by_split
    rows: tuple[Row, ...] = tuple(
        (
            Cell(text=_words(kind), note=MEANING[kind]),
            *(_number(one) for one in (tally.news, tally.known)),
            *(_number(found[kind]) for found in splits.values()),
        )
        for kind, tally in report.by_kind.items()
    )
    head = ("Finding", "News", "Known", *(split or "other" for split in splits))
    table = Table(caption="Findings by kind and split", head=head, rows=rows, style="tally")
    return Section(
        title="What was found",
        lead="Known is what the list of defects of the published MELD names; the rest is news.",
        blocks=(table,) if rows else (Text(text="Nothing."),),
    )


def _number(count: int) -> str:
    return f"{count:,}" if count else DASH


def _counts(report: AuditReport) -> Section:
    splits = report.intake.splits
    published = {split: _flat(PUBLISHED[split]) for split in splits if split in PUBLISHED}
    rows: tuple[Row, ...] = tuple(
        (
            Cell(text=name),
            *(_count(number, published.get(split, {}).get(name)) for split, number in row.items()),
        )
        for name, row in _by_name({split: _flat(one) for split, one in splits.items()}).items()
    )
    table = Table(
        caption="Small print: the published count",
        head=("Count", *splits),
        rows=rows,
    )
    return Section(
        title="Counts",
        lead="Beside the counts of MELD's published annotation files; ≠ marks what differs.",
        blocks=(table,),
    )


def _flat(counts: SplitCounts) -> dict[str, int]:
    return {"utterances": counts.rows, "dialogues": counts.dialogues, **counts.emotions}


def _by_name(splits: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    names = dict.fromkeys(name for counts in splits.values() for name in counts)
    return {
        name: {split: counts.get(name, 0) for split, counts in splits.items()} for name in names
    }


def _count(number: int, published: int | None) -> Cell:
    if published is None:
        return Cell(text=f"{number:,}")
    sign = "" if number == published else "≠ "
    return Cell(text=f"{sign}{number:,}", note=f"{published:,}")


def _details(report: AuditReport) -> Section | None:
    blocks = tuple(_folded(report, kind) for kind in report.by_kind)
    if not blocks:
        return None
    return Section(
        title="One by one",
        lead="News first. The JSON (--json) has every finding.",
        blocks=blocks,
    )


def _folded(report: AuditReport, kind: Kind) -> Folded:
    findings = report.of_kind(kind)
    rows = tuple(_row(one) for one in findings[:SHOWN])
    head = ("About", "What was seen", "What is done", "Known as")
    table = Table(caption=MEANING[kind], head=head, rows=rows, style="prose")
    more = len(findings) - len(rows)
    rest = (Text(text=f"And {more:,} more; the JSON has them."),) if more else ()
    return Folded(summary=f"{_words(kind)}: {len(findings):,}", blocks=(table, *rest))


def _row(finding: Finding) -> Row:
    return (
        Cell(text=finding.subject),
        finding.detail,
        finding.decision,
        finding.known or DASH,
    )


def _durations(report: AuditReport) -> Section | None:
    pairs = known_seconds(report.intake.durations)
    if not len(pairs):
        return None
    apart = np.abs(pairs[:, 1] - pairs[:, 0])
    near = int((apart <= 0.1).sum())
    return Section(
        title="Durations",
        lead=f"{near:,} of {len(pairs):,} clips are within 0.1 s of their rows; half of them "
        f"within {np.median(apart):.3f} s. On the left, clips on the line agree; on the right, "
        "the count is on a logarithmic axis, so that single clips are seen.",
        blocks=(Pictures(figure="durations"),),
    )


def _fixes(report: AuditReport) -> Section | None:
    fixes = report.intake.fixes
    if not fixes:
        return None
    rows: tuple[Row, ...] = tuple(
        (
            Cell(text=fix.id, note=fix.kind),
            fix.utterance,
            fix.why,
            _source(fix.source),
        )
        for fix in fixes
    )
    head = ("Entry", "Utterance", "Why", "Source")
    table = Table(caption=f"{len(fixes)} entries", head=head, rows=rows, style="prose")
    return Section(
        title="Known defects that apply here",
        lead=f"From the list of known defects of the published MELD, version "
        f"{report.intake.fixes_version}; --no-fixes leaves it aside.",
        blocks=(table,),
    )


def _source(source: str) -> Cell:
    linked = source.startswith(("https://", "http://"))
    return Cell(text=source, href=source if linked else "")


def _provenance(report: AuditReport) -> Section:
    cost = (
        ("Run time", duration(report.seconds)),
        ("Peak memory", f"{report.peak_memory_bytes / 2**20:.0f} MiB"),
        *((f"Clips {what.replace('_', ' ')}", f"{n:,}") for what, n in report.clips.items()),
    )
    files = tuple((file.name, str(file)) for file in report.intake.files)
    return Section(
        title="Where this comes from",
        blocks=(
            Code(label="Repeat this audit", text=_command(report)),
            Facts(title="Cost", facts=cost),
            Facts(title="Annotation files read", facts=files),
            Facts(title="Versions", facts=tuple(describe_versions().items())),
        ),
    )


def _command(report: AuditReport) -> str:
    options = report.options
    flags = (
        *(("--annotations-only",) if options.annotations_only else ()),
        *(() if options.fixes else ("--no-fixes",)),
    )
    return shlex.join(["meldflow", "audit", str(options.dataset), *flags, "--html", "audit.html"])


def _words(kind: Kind) -> str:
    return kind.replace("_", " ").capitalize()
