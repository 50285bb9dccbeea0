"""What the commands about runs show."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from meldflow.flows.cli.screen.terminal import Terminal, out
from meldflow.tasks.pages.text import duration
from meldflow.tasks.watching.words import size, troubles

if TYPE_CHECKING:
    from meldflow.flows.serving.runs import RunSeen, RunView
    from meldflow.tasks.watching.recorded import RecordedRun

COLOURS = {
    "COMPLETED": "green",
    "FAILED": "red",
    "CRASHED": "red",
    "CANCELLED": "yellow",
    "CANCELLING": "yellow",
    "RUNNING": "cyan",
}
"""Type of a state → its colour."""

LINE_SECONDS = 15.0
"""Between two lines where there is no terminal."""

FEW = 10
"""Workers, and reasons, that fit on a screen."""


def show_runs(runs: Sequence[RunSeen]) -> None:
    """Runs of the Prefect server, the newest first."""
    if not runs:
        out.print("no runs yet")
        return
    table = Table(box=None, padding=(0, 1), header_style="bold")
    table.add_column("run", overflow="fold", ratio=1)
    for name in ("state", "started, UTC"):
        table.add_column(name, no_wrap=True)
    for name in ("took", "done"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("")
    for run in runs:
        share = run.share
        lost, retries = (int(run.progress.get(one) or 0) for one in ("lost_workers", "retries"))
        table.add_row(
            # Names that nobody chose begin with it.
            Text(run.name if run.name.startswith(run.flow) else f"{run.name} ({run.flow})"),
            Text(run.state, COLOURS.get(run.kind, "")),
            run.started.replace("T", " ").removesuffix("Z")[:16],
            duration(run.seconds) if run.started else "",
            "" if share is None else f"{share:.0%}",
            # In words: names need the room that columns of zeros would take.
            ", ".join(troubles(lost, retries)),
        )
    out.print(table)


def show_recorded(runs: Sequence[RecordedRun]) -> None:
    """Runs that made a store, the newest first."""
    if not runs:
        out.print("no runs yet")
    for run in runs:
        took = "did not end" if run.seconds is None else duration(run.seconds)
        out.print(Text.assemble((run.id, "bold"), f"  {run.started}  {took}"))
        if run.summary:
            out.print(Text(f"    {run.summary}"))
        if load := run.load:
            workers = f"{load.workers:,} worker{'s' if load.workers != 1 else ''}"
            out.print(
                f"    {workers}: CPU {load.cpu_mean:.0f} % of a core on average, "
                f"{load.cpu_max:.0f} % at most; memory {size(load.memory_max)} at most; "
                f"{load.executing_mean:.1f} tasks at a time"
            )


@contextlib.contextmanager
def following(*, as_json: bool) -> Iterator[Callable[[RunView, str], None]]:
    """Shows a run as it goes on; call the result with each look, and what is wrong."""
    if as_json:
        yield _Changes(_print_json)
    elif out.is_terminal:
        # On a terminal of its own, since soft wrapping would cut lines that do not fit.
        with Live(console=Terminal(), refresh_per_second=4) as live:
            yield lambda view, wrong: live.update(_screen(view, wrong), refresh=True)
    else:
        yield _Changes(_print_line, every=LINE_SECONDS)


class _Changes:
    """Passes on what changed, its end in any case, and no more often than ``every`` seconds."""

    def __init__(self, show: Callable[[RunView, str], None], every: float = 0.0) -> None:
        self._show, self._every = show, every
        self._last: RunView | None = None
        self._said = 0.0

    def __call__(self, view: RunView, wrong: str) -> None:
        due = time.monotonic() - self._said >= self._every
        if view.run.ended or self._last is None or (due and (wrong or view != self._last)):
            self._show(view, wrong)
            self._last, self._said = view, time.monotonic()


def _print_json(view: RunView, wrong: str) -> None:
    told = view.run.to_json() | {"failures": view.failures, "workers": view.workers}
    line = json.dumps(told | ({"server": wrong} if wrong else {}))
    out.print(line, markup=False)
    out.file.flush()


def _print_line(view: RunView, wrong: str) -> None:
    words = view.words.replace("**", "")
    message = "" if words and view.run.kind in ("COMPLETED", "RUNNING") else view.run.message
    parts = filter(None, (f"{view.run.name}: {view.run.state}", words, message, wrong))
    out.print(". ".join(parts), markup=False)
    if view.run.ended:
        for row in view.failures:
            which = f"{row['extractor']} {row['reason']} {row['utterances']}: {row['which']}"
            out.print(f"failed: {which}", markup=False)
    out.file.flush()


def _screen(view: RunView, wrong: str) -> RenderableType:
    """Everything that is known of a run now, for a terminal of any width."""
    run = view.run
    head = Text.assemble(
        (run.name, "bold"),
        "  ",
        (run.state, COLOURS.get(run.kind, "")),
        f"  {duration(run.seconds)}",
    )
    parts: list[RenderableType] = [head]
    if wrong:
        parts.append(Text(wrong, "yellow"))
    if (share := run.share) is not None:
        # A bar alone does not end its line.
        parts.append(Padding(ProgressBar(total=1.0, completed=share), 0))
    if view.words:
        parts.append(Markdown(view.words))
    elif run.message:
        parts.append(Text(run.message))
    if view.failures:
        parts += [Text(), _table(view.failures, ("utterances",))]
    if view.workers:
        parts += [Text(), _table(view.workers, ("CPU", "memory", "executing", "waiting", "lost"))]
    if run.ended and view.words and run.kind != "COMPLETED":
        parts.append(Text(run.message, "red"))
    return Group(*parts)


def _table(rows: Sequence[Mapping[str, Any]], numbers: Sequence[str]) -> RenderableType:
    table = Table(box=None, padding=(0, 1), header_style="bold")
    for name in rows[0]:
        right = name in numbers
        table.add_column(name, justify="right" if right else "left", no_wrap=right)
    for row in rows[:FEW]:
        table.add_row(*(Text(str(value)) for value in row.values()))
    more = len(rows) - FEW
    return Group(table, Text(f" and {more:,} more")) if more > 0 else table
