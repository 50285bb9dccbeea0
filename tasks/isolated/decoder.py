"""Clips are read in a process of their own (see ``meldflow.tasks.isolated.child``).

A child that died or was too slow is replaced by a fresh one, and the clip ends as ``crashed`` or
``timeout``.
"""

import contextlib
import logging
import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Self

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Decoded, Missing, Probe, Reason
from meldflow.tasks.isolated.child import Child, Raised

CLIP_TIMEOUT = 120.0
"""Default limit per clip. The longest of MELD, five minutes at 720p, decodes in about 30 s."""

PROBE_TIMEOUT = 30.0
"""Limit for reading a clip's headers."""

MEMORY_BYTES = 2 * 2**30
"""What a child may allocate. Decoding a 720p clip takes it to about 0.3 GiB."""

MODULE = "meldflow.models.clips.decode"
"""Where the functions are that the child is asked for."""

logger = logging.getLogger("meldflow.decoder")


class Decoder:
    """One child process, started at the first request; not to be shared between threads."""

    def __init__(self, timeout: float = CLIP_TIMEOUT) -> None:
        """A decoder that gives a clip ``timeout`` seconds to be read."""
        self.timeout = timeout
        self.restarts = 0
        """Children that had to be replaced."""
        self._child: Child | None = None

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
        """``clips.decode.decode`` in the child; ``crashed`` or ``timeout`` where it fails."""
        given = self._ask("decode", (path, options), {"audio": audio, "video": video})
        return Decoded(audio=given, video=given) if isinstance(given, Missing) else given

    def probe(self, path: str) -> Probe | Missing:
        """``clips.decode.probe`` in the child; ``crashed`` or ``timeout`` where it fails."""
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
            self._child = Child.start(MODULE, MEMORY_BYTES)
        try:
            answer = self._child.ask(verb, arguments, self.timeout, **named)
        except TimeoutError:
            self._replace()
            message = f"not read within {self.timeout:g} s"
            return Missing(reason=Reason.TIMEOUT, message=message)
        except (EOFError, OSError):
            child = self._child
            why = child.death(self._replace())
            return Missing(reason=Reason.CRASHED, message=f"the decoder died ({why})")
        except BaseException:  # Ctrl-C: the answer that is still to come must not be taken
            self._replace()  # for that to another question
            raise
        if isinstance(answer, Raised):
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
    """The headers of many clips, in order; ``advance`` is told of every clip that was read.

    ``processes`` children are at it; by default as many as there are cores.
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
