"""Work on a clip in a process of its own, so that a clip costs itself and nothing else.

A damaged file may crash native code, hang it, or make it ask for all the memory there is. The
child answers what it is sent over a socket; the parent waits no longer than a limit. A child
whose parent is gone, however it went, ends itself.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any

from meldflow.models.schema.errors import RunError

START_TIMEOUT = 60.0
"""Limit for a child's start, which imports FFmpeg in half a second."""


def how_it_ended(code: int | None) -> str:
    """What a process' exit code says, e.g. ``SIGKILL``."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


@dataclass(frozen=True, slots=True)
class Raised:
    """What a child sends when Python code, not FFmpeg, stumbled over a clip."""

    line: str
    traceback: str


@dataclass(frozen=True, slots=True)
class Child:
    """A running child and our end of the socket to it."""

    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]
    memory: int
    """Bytes it may allocate; 0 for no limit."""

    @classmethod
    def start(cls, module: str, memory: int = 0) -> Child:
        """Starts a child that answers with the functions of ``module``.

        Not by ``multiprocessing``: Dask's workers are daemons, which may have no children by
        it, and it would import the parent's main module.

        Raises:
            RunError: it does not start.
        """
        ours, theirs = Pipe()
        with theirs:
            descriptor = theirs.fileno()
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, str(descriptor), module, str(memory)],
                stdin=subprocess.PIPE,  # never written to: its end tells that we are gone
                pass_fds=[descriptor],
            )
        child = cls(process, ours, memory)
        try:
            child.answer(START_TIMEOUT)
        except (EOFError, OSError, TimeoutError):
            why = child.death(child.end())
            message = f"the process for clips does not start ({why}); standard error says more"
            raise RunError(message) from None
        return child

    def ask(self, function: str, arguments: tuple[Any, ...], seconds: float, **named: Any) -> Any:
        """What the function gives, or ``Raised``.

        Raises:
            TimeoutError: there was no answer in time.
            EOFError: the child died.
        """
        self.connection.send((function, arguments, named))
        return self.answer(seconds)

    def answer(self, seconds: float) -> Any:
        """What the child sends next; see ``ask``."""
        if not self.connection.poll(seconds):
            raise TimeoutError
        return self.connection.recv()

    def end(self) -> int:
        """Kills the child, in whatever state it is; its exit code."""
        self.connection.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._reap(1.0)
        self.process.kill()
        return self._reap(None)

    def death(self, code: int) -> str:
        """What an exit code means."""
        if code == os.EX_OSERR:
            return f"it needed more than {self.memory >> 20} MiB"
        return how_it_ended(code)

    def _reap(self, seconds: float | None) -> int:
        code = self.process.wait(seconds)
        if self.process.stdin:
            self.process.stdin.close()
        return code


def serve(connection: Connection[Any, Any], module: str, memory: int) -> None:
    """The child's life: one answer per request, until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    functions = importlib.import_module(module)
    _limit_memory(memory)
    connection.send("ready")  # so that no clip pays for the start
    for number, (function, arguments, named) in enumerate(_requests(connection)):
        try:
            answer = getattr(functions, function)(*arguments, **named)
        except MemoryError:
            os._exit(os.EX_OSERR)  # whatever is left in this process is not to be trusted
        except Exception as error:
            answer = Raised(f"{type(error).__name__}: {error}", traceback.format_exc())
        connection.send(answer)
        del answer
        _forget(first=number == 0)


def _forget(*, first: bool) -> None:
    """Frees what a request left behind.

    PyAV's containers, streams and frames hold one another until they are collected: a child that
    decodes grew to 740 MB by and by, and stays at 330 MB like this. What the first request imported
    and compiled stays for good and is not looked at again, so that it costs next to nothing.
    """
    gc.collect()
    if first:
        gc.freeze()


def _requests(connection: Connection[Any, Any]) -> Iterator[Any]:
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            yield connection.recv()


def _end_with_parent() -> None:
    """Reads the pipe that the parent holds; it ends when the parent does, even by SIGKILL."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


def _limit_memory(memory: int) -> None:
    import resource

    for limit, wanted in ((resource.RLIMIT_DATA, memory), (resource.RLIMIT_CORE, 0)):
        if limit == resource.RLIMIT_CORE or wanted:
            _, hard = resource.getrlimit(limit)
            resource.setrlimit(limit, (wanted if hard < 0 else min(wanted, hard), hard))


if __name__ == "__main__":
    # By its name: what is sent from ``__main__`` would be sought in the parent's main module.
    from meldflow.tasks.isolated.child import serve as serve_

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    serve_(Connection(int(sys.argv[1])), sys.argv[2], int(sys.argv[3]))
