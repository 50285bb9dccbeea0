"""Progress on standard error: a bar in a terminal, a line now and then elsewhere."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_SECONDS = 15.0
"""Between two lines where there is no terminal."""

SHORT_SECONDS = 2.0
"""What takes no longer is not worth a line."""

console = Console(stderr=True)


@contextlib.contextmanager
def progress(what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """Shows how much of ``total`` is done; call the result with each amount newly done."""
    if not total:
        yield lambda _: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        times = (TextColumn(unit), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        with Progress(*columns, *times, console=console) as bar:
            bar_task = bar.add_task(what, total=total)
            yield lambda amount: bar.advance(bar_task, amount)
    else:
        started, done = time.monotonic(), 0
        due = started + LINE_SECONDS

        def say(now: float) -> None:
            seconds = now - started
            rate = done / seconds if seconds else 0.0
            line = f"{what}: {done} of {total} {unit}, {seconds:.0f} s, {rate:.1f}/s"
            console.print(line, highlight=False)

        def advance(amount: int) -> None:
            nonlocal done, due
            done += amount
            if (now := time.monotonic()) > due and done < total:
                say(now)
                due = now + LINE_SECONDS

        yield advance
        if (now := time.monotonic()) > started + SHORT_SECONDS:
            say(now)
