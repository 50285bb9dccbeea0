"""Runs as a store recorded them, with the load of their workers."""

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from meldflow.storage import Snapshot
from meldflow.tasks.watching.load import LoadTable


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadSummary:
    """How loaded the workers of a run were."""

    workers: int
    cpu_mean: float
    """Per cent of one core, over workers and time."""
    cpu_max: float
    memory_max: float
    """Bytes, of the worker that used most."""
    executing_mean: float
    """Tasks under way on all workers together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run that wrote to a store."""

    id: str
    started: str
    """UTC, ISO 8601."""
    finished: str
    """When it was published; empty for a try that died and was resumed."""
    seconds: float | None
    summary: str
    load: LoadSummary | None
    """None where it is not in the newest state any more, or never was."""


def recorded_runs(snapshot: Snapshot, limit: int) -> list[RecordedRun]:
    """The newest runs that made a snapshot, the newest first."""
    numbered = list(enumerate(snapshot.runs))[-limit:]
    return [
        RecordedRun(
            id=run.id,
            started=run.started,
            finished=run.finished,
            seconds=_seconds(run.started, run.finished),
            summary=run.summary,
            load=_load(snapshot, number),
        )
        for number, run in reversed(numbered)
    ]


def _seconds(started: str, finished: str) -> float | None:
    if not (started and finished):
        return None
    span = datetime.fromisoformat(finished) - datetime.fromisoformat(started)
    return span.total_seconds()


def _load(snapshot: Snapshot, run: int) -> LoadSummary | None:
    load = LoadTable.of(snapshot.attached(run, "load"))
    own = load.own
    if not own.workers:
        return None
    return LoadSummary(
        workers=len(own.workers),
        cpu_mean=round(float(np.nanmean(own["cpu"])), 1),
        cpu_max=round(float(np.nanmax(own["cpu"])), 1),
        memory_max=float(np.nanmax(own["memory"])),
        executing_mean=round(float(np.nansum(own["executing"])) / len(load.seconds), 2),
    )
