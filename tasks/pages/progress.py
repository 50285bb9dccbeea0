"""Progress on standard error: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

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
        lines = _Lines(what, total, unit)
        yield lines.advance
        lines.end()


class _Lines:
    def __init__(self, what: str, total: int, unit: str) -> None:
        self._what, self._total, self._unit = what, total, unit
        self._done = 0
        self._started = self._said = time.monotonic()

    def advance(self, amount: int) -> None:
        self._done += amount
        if time.monotonic() - self._said > LINE_SECONDS and self._done < self._total:
            self.say()

    def end(self) -> None:
        if time.monotonic() - self._started > SHORT_SECONDS:
            self.say()

    def say(self) -> None:
        self._said = time.monotonic()
        seconds = self._said - self._started
        rate = self._done / seconds if seconds else 0.0
        line = f"{self._what}: {self._done} of {self._total} {self._unit}"
        console.print(f"{line}, {seconds:.0f} s, {rate:.1f}/s", highlight=False)
