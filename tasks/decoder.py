"""Clips are read in a process of their own, so that one of them costs itself and nothing else.

A damaged file may crash FFmpeg's C code, hang it, or make it ask for all the memory there is.
The child decodes what it is sent over a socket; the parent waits no longer than the limit. A
child that died or was too slow is replaced by a fresh one, and the clip ends as ``crashed`` or
``timeout``. A child whose parent is gone, however it went, ends itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from typing import Any, Self

from models.decode import decode, probe
from models.options import DecodeOptions
from models.schema import Decoded, Missing, Probe, Reason, RunError

CLIP_TIMEOUT = 120.0
"""Default limit per clip. The longest of MELD, five minutes at 720p, decodes in about 30 s."""

PROBE_TIMEOUT = 30.0
"""Limit for reading a clip's headers."""

START_TIMEOUT = 60.0
"""Limit for a child's start, which imports FFmpeg in half a second."""

MEMORY_BYTES = 2 * 2**30
"""What a child may allocate. Decoding a 720p clip takes it to about 0.3 GiB."""

logger = logging.getLogger("meldflow.decoder")

_VERBS: dict[str, Callable[..., Any]] = {"decode": decode, "probe": probe}


class Decoder:
    """One child process, started at the first request; not to be shared between threads."""

    def __init__(self, timeout: float = CLIP_TIMEOUT) -> None:
        """A decoder that gives a clip ``timeout`` seconds to be read."""
        self.timeout = timeout
        self.restarts = 0
        """Children that had to be replaced."""
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child; None where none runs."""
        return self._child.process.pid if self._child else None

    def decode(
        self, path: str, options: DecodeOptions | None = None, *, audio: bool, video: bool
    ) -> Decoded:
        """``models.decode.decode`` in the child; ``crashed`` or ``timeout`` where it fails."""
        given = self._ask("decode", (path, options), {"audio": audio, "video": video})
        return Decoded(audio=given, video=given) if isinstance(given, Missing) else given

    def probe(self, path: str) -> Probe | Missing:
        """``models.decode.probe`` in the child; ``crashed`` or ``timeout`` where it fails."""
        given: Probe | Missing = self._ask("probe", (path,), {})
        return given

    def close(self) -> None:
        """Ends the child; the next request would start another."""
        if self._child is not None:
            self._child.end()
            self._child = None

    def _ask(self, verb: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        if self._child is not None and self._child.process.poll() is not None:
            self._replace()  # it died since the last clip, which is not this one's doing
        if self._child is None:
            self._child = _Child.start()
        try:
            answer = self._child.ask((verb, arguments, named), self.timeout)
        except TimeoutError:
            self._replace()
            message = f"not read within {self.timeout:g} s"
            return Missing(reason=Reason.TIMEOUT, message=message)
        except (EOFError, OSError):
            code = self._replace()
            return Missing(reason=Reason.CRASHED, message=f"the decoder died ({_death(code)})")
        except BaseException:  # Ctrl-C: the answer that is still to come must not be taken
            self._replace()  # for that to another question
            raise
        if isinstance(answer, _Raised):
            logger.error("%s %r: our own code raised\n%s", verb, arguments[0], answer.traceback)
            return Missing(reason=Reason.CRASHED, message=answer.line)
        return answer

    def _replace(self) -> int:
        """Ends the child for good; its exit code."""
        child, self._child = self._child, None
        self.restarts += 1
        return child.end() if child else 0


def probe_all(
    paths: Sequence[str], advance: Callable[[int], None], *, processes: int | None = None
) -> list[Probe | Missing]:
    """The headers of many clips, in order, by as many children as there are cores.

    Args:
        paths: the clips.
        advance: told of every clip that was read.
        processes: children at a time; by default as many as there are cores.
    """
    width = min(processes or os.cpu_count() or 1, max(1, len(paths)))
    free: queue.SimpleQueue[Decoder] = queue.SimpleQueue()

    def one(path: str) -> Probe | Missing:
        decoder = free.get()
        try:
            return decoder.probe(path)
        finally:
            free.put(decoder)
            advance(1)

    with contextlib.ExitStack() as stack, ThreadPoolExecutor(width) as pool:
        for _ in range(width):
            free.put(stack.enter_context(Decoder(PROBE_TIMEOUT)))
        return list(pool.map(one, paths))


@dataclass(frozen=True, slots=True)
class _Raised:
    """What a child sends when Python code, not FFmpeg, stumbled over a clip."""

    line: str
    traceback: str


@dataclass(frozen=True, slots=True)
class _Child:
    """A running child and our end of the socket to it."""

    process: subprocess.Popen[bytes]
    connection: Connection[Any, Any]

    @classmethod
    def start(cls) -> _Child:
        """Starts a child.

        Not by ``multiprocessing``: Dask's workers are daemons, which may have no children by
        it, and it would import the parent's main module.
        """
        ours, theirs = Pipe()
        with theirs:
            descriptor = theirs.fileno()
            process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(descriptor)],
                stdin=subprocess.PIPE,  # never written to: its end tells that we are gone
                pass_fds=[descriptor],
            )
        child = cls(process, ours)
        try:
            child.answer(START_TIMEOUT)
        except (EOFError, OSError, TimeoutError):
            why = _death(child.end())
            message = f"the decoder does not start ({why}); standard error says more"
            raise RunError(message) from None
        return child

    def ask(self, request: object, seconds: float) -> Any:
        """The child's answer.

        Raises:
            TimeoutError: there was none in time.
            EOFError: the child died.
        """
        self.connection.send(request)
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

    def _reap(self, seconds: float | None) -> int:
        code = self.process.wait(seconds)
        if self.process.stdin:
            self.process.stdin.close()
        return code


def _death(code: int) -> str:
    if code == os.EX_OSERR:
        return f"it needed more than {MEMORY_BYTES >> 20} MiB"
    if code < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-code).name
    return f"exit code {code}"


def _serve(connection: Connection[Any, Any]) -> None:
    """The child's life: one answer per request, until the parent is gone."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _limit_memory()
    connection.send("ready")  # so that no clip pays for the start
    for verb, arguments, named in _requests(connection):
        try:
            answer = _VERBS[verb](*arguments, **named)
        except MemoryError:
            os._exit(os.EX_OSERR)  # whatever is left in this process is not to be trusted
        except Exception as error:
            answer = _Raised(f"{type(error).__name__}: {error}", traceback.format_exc())
        connection.send(answer)


def _requests(connection: Connection[Any, Any]) -> Iterator[Any]:
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:
            yield connection.recv()


def _end_with_parent() -> None:
    """Reads the pipe that the parent holds; it ends when the parent does, even by SIGKILL."""
    while os.read(sys.stdin.fileno(), 1):
        pass
    os._exit(0)


def _limit_memory() -> None:
    import resource

    for limit in (resource.RLIMIT_DATA, resource.RLIMIT_CORE):
        _, hard = resource.getrlimit(limit)
        wanted = MEMORY_BYTES if limit == resource.RLIMIT_DATA else 0
        resource.setrlimit(limit, (wanted if hard < 0 else min(wanted, hard), hard))


if __name__ == "__main__":
    # By its name: what is sent from ``__main__`` would be sought in the parent's main module.
    from tasks.decoder import _serve as serve

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to handle
    serve(Connection(int(sys.argv[1])))
