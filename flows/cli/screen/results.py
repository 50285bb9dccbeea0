"""What the commands show: progress, tables, and the same figures as JSON."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from meldflow.flows.cli.screen.terminal import out
from meldflow.models.schema.errors import StoppedError
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.tasks.pages.progress import console as err
from meldflow.tasks.pages.text import readable

if TYPE_CHECKING:
    from pandas import DataFrame

    from meldflow.models.extractors.entries import Entry
    from meldflow.storage import Snapshot
    from meldflow.storage.exports import ExportReport
    from meldflow.storage.history import State
    from meldflow.storage.reading.snapshot import Counts
    from meldflow.tasks.audit.stock import AuditReport
    from meldflow.tasks.demo.dataset import SynthSummary
    from meldflow.tasks.extraction.committing import ExtractReport
    from meldflow.tasks.training.steps import TrainReport


@contextlib.contextmanager
def prefect() -> Iterator[None]:
    """A Prefect server for the flow that runs inside, and its address for the curious."""
    with err.status("waiting for the Prefect server"):
        from meldflow.flows.serving.server import prefect_server

        stack = contextlib.ExitStack()
        url = stack.enter_context(prefect_server())
    with stack:
        err.print(f"Prefect UI: {url.removesuffix('/api')}")
        from prefect.exceptions import TerminationSignal

        try:
            yield
        except (KeyboardInterrupt, TerminationSignal):
            raise StoppedError(
                f"stopped; what was committed is kept, `{typed()}` goes on from there"
            ) from None


def typed() -> str:
    """The command as it can be typed again."""
    return shlex.join(["meldflow", *sys.argv[1:]])


def show_synth(summary: SynthSummary) -> None:
    """Rows and emotions of a demo data set."""
    what = "reused" if summary.reused else "wrote"
    out.print(f"{what} {summary.clips} clips, {summary.seconds:.0f} s, in {summary.directory}")
    table = Table("split", *EMOTIONS, "utterances")
    for split, one in summary.splits.items():
        table.add_row(split, *(str(one.emotions.get(e, 0)) for e in EMOTIONS), str(one.rows))
    out.print(table)


def show_extraction(report: ExtractReport) -> None:
    """What an extraction did, or that there was nothing to do."""
    from meldflow.tasks.watching.words import trouble

    if not report.extracted:
        out.print(f"nothing to do: {escape(report.store)} is up to date ({report.catalogue})")
    else:
        table = Table(
            "extractor", "extracted", "failed", "reasons", title=f"store {escape(report.store)}"
        )
        for rate in report.failures:
            reasons = ", ".join(f"{reason} {n}" for reason, n in rate.reasons.items())
            done = str(report.extracted.get(rate.extractor, 0))
            table.add_row(rate.extractor, done, str(rate.failed), reasons)
        out.print(table)
        per_second = report.utterances / report.seconds if report.seconds else 0.0
        resumed = "resumed a run that had not ended; " if report.resumed else ""
        out.print(
            f"{resumed}{report.utterances} utterances in {report.seconds:.0f} s "
            f"({per_second:.1f}/s); "
            + "; ".join((*trouble(report.effort), f"catalogue: {report.catalogue}"))
        )
    if report.findings:
        found = ", ".join(f"{kind} {number:,}" for kind, number in report.findings.items())
        out.print(f"noticed in the data set: {found}")
    for line in report.left_out:
        out.print(f"left out, {line}", markup=False)
    if report.random_weights:
        out.print(f"[yellow]random weights:[/] {', '.join(report.random_weights)}")
    out.print(f"snapshot {report.snapshot}")


FEW = 5
"""Findings of a kind that a terminal shows."""


def show_audit(report: AuditReport) -> None:
    """Findings by kind and split, and the first of those that nobody knew."""
    from meldflow.tasks.audit.stock import news, overview

    out.print(report.headline(), style="bold")
    counted = overview(report)
    table = Table(*map(str, counted.head))
    for row in counted.rows:
        table.add_row(*(str(getattr(cell, "text", cell)) for cell in row))
    out.print(table)
    for kind, group in report.by_kind.items():
        new = news(group)
        if new:
            out.print(f"\n[bold]{kind}[/], {new:,} not known before. {kind.meaning}")
        for one in group[: min(FEW, new)]:
            subject, detail, decision = (
                escape(readable(part)) for part in (one.subject, one.detail, one.decision)
            )
            out.print(f"  [cyan]{subject}[/]: {detail}")
            out.print(f"    [dim]{decision}[/]")
        if new > FEW:
            out.print(f"  and {new - FEW:,} more")
    memory = report.peak_memory_bytes / 2**20
    out.print(
        f"{report.seconds:.1f} s, at most {memory:.0f} MiB; all findings: --json, --html FILE"
    )


def show_training(report: TrainReport) -> None:
    """The result beside the baseline, and where to read more."""
    for warning in report.warnings:
        out.print(f"[yellow]note:[/] {escape(warning)}")
    result, winner = report.result, report.result.winner
    table = Table(
        "model",
        "accuracy",
        "weighted F1",
        title=f"{result.protocol}: {len(result.test_ids):,} utterances judged",
    )
    for name in result.judged:
        scores = report.spreads(name)
        chosen = " (chosen on dev)" if name == winner and report.spreads(name, "dev") else ""
        means = (f"{scores[metric].mean:.3f}" for metric in ("accuracy", "weighted_f1"))
        table.add_row(f"{name}{chosen}", *means)
    for less in result.ablations:
        table.add_row(f"[dim]{less.name}[/]", "", f"[dim]{less.test['weighted_f1'].mean:.3f}[/]")
    out.print(table)
    best, floor = (report.spreads(name)["weighted_f1"] for name in (winner, "majority"))
    spread = "" if best.sd is None else f" ± {best.sd:.3f} over {len(result.seeds)} seeds"
    words = f"weighted F1 {best.mean:.3f}{spread}, majority baseline {floor.mean:.3f}"
    out.print(words, style="bold")
    for part in result.shown.beside:
        f1 = report.spreads(winner, part)["weighted_f1"].mean
        out.print(f"the same models on {part}: weighted F1 {f1:.3f}", style="bold")
    page = str(report.page)
    out.print(f"report {escape(page)}")
    python = min(sys.executable, os.path.relpath(sys.executable), key=len)
    opener = shlex.join([python, "-m", "webbrowser", page])
    out.print(f"open it with: {escape(opener)}")
    if report.tracking:
        from meldflow.tasks.training.mlflow_run import how_to_look

        words = f"MLflow has the run; look at it with: {how_to_look(report.tracking)}"
        out.print(escape(words))


def status_json(left: Sequence[State], snapshot: Snapshot) -> dict[str, Any]:
    """The same as ``show_status``, for programs."""
    splits = {
        split: {"utterances": len(snapshot.rows(split)), **by_extractor}
        for split, by_extractor in _counts(left, snapshot).items()
    }
    return {"snapshot": snapshot.id, "splits": splits, "unpublished": left}


def show_pipeline(found: Mapping[str, Any]) -> None:
    """What an extraction did, and the training on it."""
    show_extraction(found["extract"])
    show_training(found["train"])


def show_extractors(entries: Sequence[Entry]) -> None:
    """Where each comes from, and what can be set on it."""
    for entry in entries:
        out.print(f"{entry.name}  ({entry.origin})", style="bold", markup=False)
        presets = (f"{name}: {checkpoint}" for name, checkpoint in entry.presets.items())
        for line in (entry.summary, *map(str, entry.parameters().values()), *presets):
            out.print(f"  {line}", markup=False)


def show_status(left: Sequence[State], snapshot: Snapshot) -> None:
    """Utterances by split, extractor and state; then what runs did and did not publish."""
    table = Table(
        "split", "extractor", "ok", "failed", "stale", "never", title=f"snapshot {snapshot.id}"
    )
    for split, by_extractor in _counts(left, snapshot).items():
        for extractor, one in by_extractor.items():
            cells = (one.ok, one.failed, one.stale, one.never)
            table.add_row(split, extractor, *map(str, cells))
        table.add_section()
    out.print(table)
    if random := snapshot.random_weights():
        out.print(f"[yellow]random weights:[/] {', '.join(random)}")
    for run in left:
        out.print(f"[yellow]{run.run}:[/] {escape(run.summary)}; --snapshot {run.run} shows it")


def _counts(left: Sequence[State], snapshot: Snapshot) -> Mapping[str, Mapping[str, Counts]]:
    """By split and extractor; none, and no error, where nothing but ``left`` is there."""
    return {} if left and snapshot.is_empty else snapshot.counts()


def damage(clips: DataFrame) -> DataFrame:
    """What is lost of each clip's sound and picture; empty where nothing is."""
    return clips[["audio_damage", "video_damage"]].astype(object).fillna("")


def clips_json(snapshot: str, clips: DataFrame) -> dict[str, Any]:
    """The same as ``show_clips``, for programs."""
    rows = json.loads(clips.reset_index().to_json(orient="records"))
    return {"snapshot": snapshot, "clips": rows}


def show_clips(clips: DataFrame) -> None:
    """What decoding showed of every clip."""
    lacking = damage(clips)
    shown = Table("utterance", "sound", "s", "picture", "frames", "damage")
    # As mappings: pandas would make a text of every value of a row that has nothing but a path.
    known = clips.astype(object).where(clips.notna(), None).to_dict("records")
    for name, one, lost in zip(clips.index, known, lacking.to_numpy(), strict=True):
        rate, width, speed = one["audio_rate"], one["video_width"], one["video_rate"]
        seconds, frames = one["audio_seconds"], one["video_frames_decoded"]
        sound = [one["audio_codec"], one["audio_layout"], rate and f"{rate:.0f} Hz"]
        size = width and f"{width:.0f}x{one['video_height']:.0f}"
        picture = [one["video_codec"], size, speed and f"{speed:.5g}/s"]
        shown.add_row(
            escape(readable(name)),
            " ".join(filter(None, sound)),
            "" if seconds is None else f"{seconds:.2f}",
            " ".join(filter(None, picture)),
            "" if frames is None or frames < 0 else f"{frames:.0f}",
            "; ".join(filter(None, lost)),
        )
    out.print(shown)
    out.print(f"{len(clips)} clips, {int(lacking.any(axis=1).sum())} of them damaged")


def show_export(report: ExportReport) -> None:
    """What an export holds, what it lacks, and what must not be overlooked."""
    table = Table("extractor", "ok", "missing", "reasons", title=f"snapshot {report.snapshot}")
    for name, counts in report.extractors.items():
        reasons = ", ".join(f"{reason} {n}" for reason, n in report.reasons[name].items())
        table.add_row(name, str(counts["ok"]), str(counts["missing"]), reasons)
    out.print(table)
    for warning in report.warnings:
        out.print(f"[yellow]note:[/] {escape(warning)}")
    for why, number in report.left_out.items():
        out.print(f"left out: {number} utterances, {why}")
    size = f"{report.n_bytes / 2**20:.1f} MiB"
    what = f"{report.utterances} utterances, {size}, as {report.format}"
    out.print(f"{what} in {escape(report.path)}")
    out.print(f"where it comes from: {escape(report.provenance)}")


def show_failures(found: Mapping[str, Any]) -> None:
    """Every utterance without a feature, with its reason."""
    if not found["failures"]:
        out.print("no failures")
        return
    table = Table("utterance", "extractor", "reason", "message")
    for one in found["failures"]:
        cells = (one.id, one.extractor, one.reason, one.message)
        table.add_row(*(escape(readable(cell)) for cell in cells))
    out.print(table)
