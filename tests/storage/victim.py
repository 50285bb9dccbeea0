"""Writers to be killed: processes that import everything first and begin on command."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import IO

from tests.paths import ROOT
from tests.storage.writer import Order


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When a writer is killed."""

    delay: float
    """Seconds."""
    after: str = ""
    """The event from which the delay counts; empty: from the order."""


class Writer:
    """A process that has imported everything and waits for its order."""

    def __init__(self, errors: IO[bytes]) -> None:
        self._errors = errors
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-X", "faulthandler", "-m", "tests.storage.writer"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )

    @cached_property
    def ready(self) -> bool:
        """Waits for the imports; False where the process died over them."""
        assert self._process.stdout is not None
        return bool(self._process.stdout.readline())

    def run(self, order: Order, moment: Moment | None) -> bool:
        """Runs the order and kills it at the moment. Gives whether it came to that.

        Raises:
            RuntimeError: the writer ended by itself, with an error.
        """
        killed = self.ready and self._begin(order) and moment is not None and self._reach(moment)
        if killed:
            self.stop()
            return True
        code = self._process.wait()
        self.stop()
        if code != 0:
            self._errors.seek(0)
            said = self._errors.read().decode()
            raise RuntimeError(f"the writer ended with {code}: {said}")
        return False

    def _begin(self, order: Order) -> bool:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(asdict(order)) + "\n")
        self._process.stdin.flush()
        return True

    def _reach(self, moment: Moment) -> bool:
        """Waits for the moment; False if the writer ended before."""
        assert self._process.stdout is not None
        if moment.after and f"{moment.after}\n" not in self._process.stdout:
            return False
        try:
            self._process.wait(moment.delay)
        except subprocess.TimeoutExpired:
            return True
        return False

    def stop(self) -> None:
        """Ends the process, whatever it does."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


class Bench:
    """Starts the next writer while the store is checked, so that no one waits for imports."""

    def __init__(self, errors: IO[bytes]) -> None:
        self._errors = errors
        self._next = Writer(errors)

    def run(self, order: Order, moment: Moment | None = None) -> bool:
        """See ``Writer.run``."""
        writer, self._next = self._next, Writer(self._errors)
        try:
            return writer.run(order, moment)
        finally:
            writer.stop()

    def stop(self) -> None:
        """Ends the writer that waits."""
        self._next.stop()


@contextmanager
def open_bench() -> Iterator[Bench]:
    """Writers on command; whichever waits is ended with the block."""
    with tempfile.TemporaryFile() as errors:
        bench = Bench(errors)
        try:
            yield bench
        finally:
            bench.stop()
