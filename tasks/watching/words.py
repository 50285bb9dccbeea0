"""What is known of a run, in words: the same ones in the Prefect UI and in a terminal."""

from __future__ import annotations

import html
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence

from rich.filesize import decimal

from meldflow.storage.reading.snapshot import FailedRow
from meldflow.tasks.extraction.counts import Effort, Progress
from meldflow.tasks.pages.text import readable

FEW = 5
"""Utterances that a table names per reason."""

_UNITS = ((86_400, "day"), (3_600, "h"), (60, "min"), (1, "s"))


def roughly(seconds: float) -> str:
    """A time span to two units, e.g. ``8 s``, ``3 min 5 s``, ``2 h 10 min``, ``3 days 4 h``."""
    rest = max(0, round(seconds))
    for i, (size, name) in enumerate(_UNITS[:-1]):
        if rest >= size:
            smaller, unit = _UNITS[i + 1]
            number, part = divmod(rest // smaller, size // smaller)
            text = f"{number} {name}{'s' if name == 'day' and number > 1 else ''}"
            return f"{text} {part} {unit}" if part else text
    return f"{rest} s"


def how_far(progress: Progress) -> str:
    """``1,234 of 5,000 features``."""
    return f"{progress.done:,} of {progress.planned:,} features"


def time_left(progress: Progress) -> str:
    """``about 5 min left``, or why nobody can tell."""
    if progress.done >= progress.planned:
        return "the last of it is being stored"
    if progress.left is None:
        return "no rate yet" if not progress.done else "nothing was done lately"
    return f"about {roughly(progress.left)} left"


def in_words(progress: Progress) -> str:
    """The sentences below the progress bar."""
    pace = f"{progress.rate:,.1f} per second, {time_left(progress)}"
    return f"**{how_far(progress)}**, {pace}. {so_far(progress)}."


def so_far(progress: Progress) -> str:
    """What was stored, what failed, what was tried again, and how long it took."""
    merged = f"{progress.partitions:,} of {progress.planned_partitions:,} partitions stored"
    failed = f"{progress.failed:,} feature{'s' * (progress.failed != 1)} failed"
    events = ", ".join([merged, failed, *trouble(progress.effort)])
    return f"{events}; {roughly(progress.elapsed)} so far"


def trouble(effort: Effort) -> list[str]:
    """Retries and batches encoded apart, where there were any."""
    counts = (
        (effort.retries, "retry", "retries"),
        (effort.apart, "batch encoded apart", "batches encoded apart"),
    )
    return [f"{n:,} {one if n == 1 else many}" for n, one, many in counts if n]


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


def failed_utterances(
    store: str, failures: Mapping[tuple[str, str], int], rows: Sequence[FailedRow]
) -> str:
    """Every failed utterance that is kept, as Markdown, with the command that looks into it."""
    number = sum(failures.values())
    if not number:
        return "No feature failed."
    lines = [f"**{number:,} feature{'s' * (number != 1)} failed.**"]
    if number > len(rows):
        command = shlex.join(["meldflow", "failures", store])
        lines.append(
            f"The first {len(rows):,} are below; {code(command)} lists all, once published."
        )
    for (extractor, reason), count in failures.items():
        found = [one for one in rows if (one.extractor, one.reason) == (extractor, reason)]
        if found:
            lines += ["", f"### {text(extractor)}: {text(reason)}, {count:,}", ""]
            lines += table(("utterance", "message", "look at it"), map(_look, found))
    return "\n".join(lines)


def _look(one: FailedRow) -> tuple[str, str, str]:
    command = shlex.join(["meldflow", "inspect", one.clip]) if one.clip else ""
    return code(one.id), text(one.message), code(command)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: str = "") -> list[str]:
    """Lines of a Markdown table, from cells that are Markdown already.

    Args:
        head: names of the columns.
        rows: their cells.
        right: a character per column, ``r`` for those of numbers.
    """
    rule = ["---:" if mark == "r" else "---" for mark in right.ljust(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


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
