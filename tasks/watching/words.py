"""What is known of a run, in words: the same ones in the Prefect UI and in a terminal."""

import html
import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from rich.filesize import decimal

from meldflow.storage.reading.snapshot import FailedRow
from meldflow.tasks.extraction.counts import Effort, Progress
from meldflow.tasks.pages.templates import template
from meldflow.tasks.pages.text import DASH, counted, duration, readable
from meldflow.tasks.watching.load import WorkerLoad

FEW = 5
"""Utterances that a table names per reason."""

MANY = 100
"""Workers in a table, the busiest of them, and partitions in a list."""


def how_far(progress: Progress) -> str:
    """``1,234 of 5,000 features``."""
    return f"{progress.done:,} of {progress.planned:,} features"


def loading(loads: Sequence[WorkerLoad]) -> str:
    """``2 workers load text/minilm``; empty where none loads anything."""
    busy = [one.loading for one in loads if one.loading]
    names = ", ".join(sorted(set().union(*busy)))
    return f"{counted(len(busy), 'worker')} load{'s' * (len(busy) == 1)} {names}" if busy else ""


def time_left(progress: Progress, loads: str = "") -> str:
    """``about 5 min left``, or why nobody can tell."""
    if progress.done >= progress.planned:
        return "the last of it is being stored"
    if progress.left is None and loads:
        return loads
    if progress.left is None:
        return "no rate yet" if not progress.done else "nothing was done lately"
    return f"about {duration(progress.left)} left"


def in_words(progress: Progress, loads: Sequence[WorkerLoad] = ()) -> str:
    """The sentences below the progress bar."""
    pace = f"{progress.rate:,.1f} per second, {time_left(progress, loading(loads))}"
    return f"**{how_far(progress)}**, {pace}. {so_far(progress)}."


def so_far(progress: Progress) -> str:
    """What was stored, what failed, what was tried again, and how long it took."""
    merged = f"{progress.partitions:,} of {progress.planned_partitions:,} partitions stored"
    failed = f"{progress.failed:,} feature{'s' * (progress.failed != 1)} failed"
    events = ", ".join([merged, failed, *trouble(progress.effort)])
    return f"{events}; {duration(progress.elapsed)} so far"


def trouble(effort: Effort) -> list[str]:
    """Lost workers, retries and batches encoded apart, where there were any."""
    return troubles(sum(effort.lost_workers.values()), effort.retries, effort.apart)


def troubles(lost_workers: int, retries: int, apart: int = 0) -> list[str]:
    """The same of their numbers."""
    counts = (
        (lost_workers, "worker lost", "workers lost"),
        (retries, "retry", "retries"),
        (apart, "batch encoded apart", "batches encoded apart"),
    )
    return [f"{n:,} {one if n == 1 else many}" for n, one, many in counts if n]


def times(counts: Mapping[Any, int]) -> str:
    """``cpu-0 (2 times), cpu-1``; of many, the first hundred."""
    some = list(counts.items())[:MANY]
    told = ", ".join(f"{name} ({n} times)" if n > 1 else str(name) for name, n in some)
    return told + " and others" * (len(counts) > MANY)


def failure_table(
    failures: Mapping[tuple[str, str], int], rows: Sequence[FailedRow]
) -> list[dict[str, str | int]]:
    """A row per extractor and reason, the most frequent first, with the first utterances."""
    table: list[dict[str, str | int]] = []
    for (extractor, reason), number in failures.items():
        names = [one.id for one in rows if (one.extractor, one.reason) == (extractor, reason)]
        more = f" and {number - FEW:,} more" if number > FEW else ""
        table.append(
            {
                "extractor": extractor,
                "reason": reason,
                "utterances": number,
                "which": readable(", ".join(names[:FEW])) + more,
            }
        )
    return table


def worker_table(now: Sequence[WorkerLoad], lost: Mapping[str, int]) -> list[dict[str, str | int]]:
    """A row per worker, the busiest first, and last those that are gone."""
    rows: list[dict[str, str | int]] = [
        {
            "worker": one.worker,
            "CPU": f"{one.cpu:.0f} %",
            "memory": size(one.memory),
            "executing": one.executing,
            "waiting": one.waiting,
            "lost": lost.get(one.worker, 0),
        }
        for one in sorted(now, key=lambda one: -one.cpu)[:MANY]
    ]
    unknown = dict.fromkeys(("CPU", "memory", "executing", "waiting"), DASH)
    gone = [name for name in lost if name not in {one.worker for one in now}]
    return rows + [{"worker": name, **unknown, "lost": lost[name]} for name in gone[:MANY]]


def failed_utterances(
    store: str, failures: Mapping[tuple[str, str], int], rows: Sequence[FailedRow]
) -> str:
    """Every failed utterance that is kept, as Markdown, with the command that looks into it."""
    number = sum(failures.values())
    return template("watching/failed.md.j2", text, code).render(
        store=store, failures=failures, rows=rows, number=number, counted=counted, command=_command
    )


def _command(*words: str) -> str:
    """A command of ours as it is typed."""
    return shlex.join(["meldflow", *words])


def text(words: str) -> str:
    """Data as Markdown that shows it as it is, also in a cell of a table."""
    escaped = re.sub(r"([\\`*_{}\[\]|~])", r"\\\1", html.escape(readable(words), quote=False))
    return escaped.replace("://", ":&#47;&#47;")


def code(words: str) -> str:
    """Data in the type of code, also in a cell of a table."""
    if not words:
        return ""
    shown = readable(words).replace("|", r"\|")
    fence = "`" * (1 + max(map(len, re.findall("`+", shown)), default=0))
    pad = " " if shown.startswith("`") or shown.endswith("`") else ""
    return f"{fence}{pad}{shown}{pad}{fence}"


def size(n_bytes: float) -> str:
    """Bytes for people, e.g. ``12.3 MB``."""
    return decimal(int(n_bytes))
