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
from multiprocessing.connection import Connection, Pipe
from typing import Any, Self

from meldflow.models.schema.errors import RunError

START_TIMEOUT = 60.0
"""Limit for a child's start, which imports FFmpeg in half a second."""


def how_it_ended(code: int | None) -> str:
    """What a process' exit code says, e.g. ``SIGKILL``."""
    if code is not None and code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


class RaisedError(Exception):
    """Python code, not FFmpeg, stumbled over a clip in a child: its error in a line."""

    def __init__(self, line: str, traceback: str) -> None:
        super().__init__(line)
        self.traceback = traceback


class Child:
    """A process that answers with the functions of a module; not to be shared between threads.

    It is started when it is asked, also where another one died or was too slow.
    """

    def __init__(self, module: str, memory: int = 0) -> None:
        """Names the module; the process may allocate ``memory`` bytes, 0 for no limit."""
        self.restarts = 0
        """How often it had to be replaced."""
        self._module, self._memory = module, memory
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: Connection[Any, Any]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id; None where none runs."""
        return self._process.pid if self._process else None

    @property
    def runs(self) -> bool:
        """Whether the next question goes to the process that answered the last one."""
        return self._process is not None and self._process.poll() is None

    def ask(self, function: str, arguments: tuple[Any, ...], seconds: float, **named: Any) -> Any:
        """What the function gives.

        Raises:
            TimeoutError: there was no answer in time.
            ChildProcessError: the child died; the message says how.
            RaisedError: the function raised something.
            RunError: no child starts.
        """
        if not self.runs:
            self.restarts += self._process is not None  # dead by no doing of this question
            self.close()
            self._start()
        try:
            self._connection.send((function, arguments, named))
            is_right, answer = self._answer(seconds)
        except BaseException as error:
            # By Ctrl-C too: the answer that is still to come is none to another question.
            self.restarts += 1
            how = self.close()
            if isinstance(error, EOFError | OSError) and not isinstance(error, TimeoutError):
                raise ChildProcessError(how) from error
            raise
        if not is_right:
            raise RaisedError(*answer)
        return answer

    def close(self) -> str:
        """Ends the process, in whatever state it is, and gives how; another question starts one."""
        process, self._process = self._process, None
        if process is None:
            return ""
        self._connection.close()
        try:
            code = process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        if process.stdin:
            process.stdin.close()
        too_much = f"it needed more than {self._memory >> 20} MiB"
        return too_much if code == os.EX_OSERR else how_it_ended(code)

    def _start(self) -> None:
        # Not by `multiprocessing`: Dask's workers are daemons, which may have no children by it,
        # and it would import the parent's main module.
        self._connection, theirs = Pipe()
        with theirs:
            arguments = (str(theirs.fileno()), self._module, str(self._memory))
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", __name__, *arguments],
                stdin=subprocess.PIPE,  # never written to: its end tells that we are gone
                pass_fds=[theirs.fileno()],
            )
        try:
            self._answer(START_TIMEOUT)
        except (EOFError, OSError):
            message = f"the process for clips does not start ({self.close()})"
            raise RunError(f"{message}; standard error says more") from None

    def _answer(self, seconds: float) -> Any:
        if not self._connection.poll(seconds):
            raise TimeoutError(f"no answer within {seconds:g} s")
        return self._connection.recv()


def serve(connection: Connection[Any, Any], module: str, memory: int) -> None:
    """The child's life: one answer per request, until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    functions = importlib.import_module(module)
    _limit_memory(memory)
    connection.send("ready")  # so that no clip pays for the start
    for number, (function, arguments, named) in enumerate(_requests(connection)):
        try:
            answer = True, getattr(functions, function)(*arguments, **named)
        except MemoryError:
            os._exit(os.EX_OSERR)  # whatever is left in this process is not to be trusted
        except Exception as error:
            answer = False, (f"{type(error).__name__}: {error}", traceback.format_exc())
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
