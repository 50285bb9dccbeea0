"""The audit: what intake found about a data set, counted, and as records for every reader."""

import resource
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meldflow.models.files import write_atomically
from meldflow.models.running.hardware import describe_versions
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.tasks.dataset import Intake, take_in
from meldflow.tasks.dataset.records import Finding, Kind
from meldflow.tasks.options import AuditOptions
from meldflow.tasks.pages.text import DASH, Cell, Row, Table


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What an audit found, and what it cost."""

    options: AuditOptions
    intake: Intake
    seconds: float
    """Run time, wall clock."""
    peak_memory_bytes: int
    """The peak of this process and that of its largest child, added."""

    @property
    def by_kind(self) -> Mapping[Kind, Sequence[Finding]]:
        """Kind → its findings, news first; kinds without any are left out."""
        found = sorted(self.intake.findings, key=lambda one: bool(one.known))
        groups = {kind: [one for one in found if one.kind is kind] for kind in Kind}
        return {kind: group for kind, group in groups.items() if group}

    @property
    def clips(self) -> Mapping[str, int]:
        """What became of the clips: how many headers were read, and how many were not."""
        kinds = Counter(one.kind for one in self.intake.findings)
        lost = kinds[Kind.UNREADABLE_CLIP] + kinds[Kind.MISSING_CLIP]
        return {
            "read": 0 if self.options.annotations_only else len(self.intake.utterances) - lost,
            "unreadable": kinds[Kind.UNREADABLE_CLIP],
            "missing": kinds[Kind.MISSING_CLIP],
            "without_row": kinds[Kind.CLIP_WITHOUT_ROW],
        }

    def headline(self) -> str:
        """One sentence: utterances, clips and findings."""
        findings, read = self.intake.findings, self.clips["read"]
        clips = "clips left alone" if self.options.annotations_only else f"{read:,} clips read"
        return (
            f"{len(self.intake.utterances):,} utterances, {clips}, {len(findings):,} findings "
            f"of which {len(findings) - news(findings):,} are in the list of known defects"
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON values; a split has its ``rows``, ``dialogues``, ``emotions``, ``findings``."""
        found = Counter((one.split, one.kind) for one in self.intake.findings)
        return {
            "meldflow": describe_versions()["meldflow"],
            "dataset": str(self.options.dataset),
            "annotations_only": self.options.annotations_only,
            "files": [str(file) for file in self.intake.files],
            "splits": {
                split: {
                    "rows": one.rows,
                    "dialogues": one.dialogues,
                    "emotions": {emotion: one.emotions.get(emotion, 0) for emotion in EMOTIONS},
                    "findings": {kind: n for (where, kind), n in found.items() if where == split},
                }
                for split, one in self.intake.splits.items()
            },
            "clips": dict(self.clips),
            "fixes": {
                "version": self.intake.fixes_version,
                "applied": [fix.model_dump(mode="json") for fix in self.intake.fixes],
            },
            "findings": [asdict(finding) for finding in self.intake.findings],
            "seconds": self.seconds,
            "peak_memory_bytes": self.peak_memory_bytes,
        }


def news(findings: Iterable[Finding]) -> int:
    """How many of them no entry of the fix list names."""
    return sum(not one.known for one in findings)


def take_stock(options: AuditOptions) -> AuditReport:
    """Reads the annotations and, unless told otherwise, the header of every clip.

    Raises:
        UsageError: the data set cannot be read.
    """
    started = time.monotonic()
    clips = not options.annotations_only
    intake = take_in(options.dataset, checksums=False, clips=clips, fixes=options.fixes)
    return AuditReport(
        options=options,
        intake=intake,
        seconds=round(time.monotonic() - started, 2),
        peak_memory_bytes=peak_memory(),
    )


def peak_memory() -> int:
    """The peak of this process and that of its largest child so far, added, bytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(one).ru_maxrss for one in who) * unit


def check_page(file: Path) -> None:
    """Finds out whether a page can be written before anything is read for it.

    Raises:
        UsageError: it cannot.
    """
    if file.is_dir():
        raise UsageError(f"report {file}: is a folder; name a file, such as {file / 'audit.html'}")
    try:
        probe = write_atomically(file.with_name(f".{file.name}.check"), b"")
    except OSError as error:
        raise UsageError(
            f"report {file}: cannot be written ({error.strerror}); name another file"
        ) from error
    probe.unlink()


def overview(report: AuditReport) -> Table:
    """Kinds of findings, how many there are of each, and where."""
    found = report.intake.findings
    splits = dict.fromkeys((*report.intake.splits, *(one.split for one in found)))
    rows: list[Row] = []
    for kind, group in report.by_kind.items():
        where = Counter(one.split for one in group)
        counts = (news(group), len(group) - news(group), *(where[split] for split in splits))
        name = Cell(kind.words, kind.meaning)
        rows.append((name, *(f"{count:,}" if count else DASH for count in counts)))
    head = ("Finding", "News", "Known", *(split or "other" for split in splits))
    return Table("Findings by kind and split", head, rows, "tally")


def markdown(report: AuditReport) -> str:
    """The headline and the findings by kind and split, as Markdown."""
    shown = overview(report)
    rows = (shown.head, ["---"] * len(shown.head), *shown.rows)
    lines = (f"| {' | '.join(map(str, cells))} |" for cells in rows)
    return "\n".join([f"**{report.headline()}**", "", *lines])


def table(report: AuditReport, limit: int) -> list[dict[str, str]]:
    """The first ``limit`` findings, news first; a last row says how many more there are."""
    findings = sorted(report.intake.findings, key=lambda one: bool(one.known))
    rows = [{name: str(value) for name, value in asdict(one).items()} for one in findings[:limit]]
    if len(findings) > limit:
        more = f"and {len(findings) - limit:,} more"
        rows.append({"kind": more, "subject": "`meldflow audit --json` has all"})
    return rows
