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
from typing import Any

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Decoded, Missing, Probe, Reason
from meldflow.tasks.isolated.child import Child, RaisedError

CLIP_TIMEOUT = 120.0
"""Default limit per clip. The longest of MELD, five minutes at 720p, decodes in about 30 s."""

PROBE_TIMEOUT = 30.0
"""Limit for reading a clip's headers."""

MEMORY_BYTES = 2 * 2**30
"""What a child may allocate. Decoding a 720p clip takes it to about 0.3 GiB."""

MODULE = "meldflow.models.clips.decode"
"""Where the functions are that the child is asked for."""

logger = logging.getLogger("meldflow.decoder")


class Decoder(Child):
    """Reads clips in a child process; not to be shared between threads."""

    def __init__(self, timeout: float = CLIP_TIMEOUT) -> None:
        """A decoder that gives a clip ``timeout`` seconds to be read."""
        super().__init__(MODULE, MEMORY_BYTES)
        self.timeout = timeout

    def decode(
        self, path: str, options: DecodeOptions | None = None, *, audio: bool, video: bool
    ) -> Decoded:
        """``clips.decode.decode`` in the child; ``crashed`` or ``timeout`` where it fails."""
        given = self._read("decode", path, options, audio=audio, video=video)
        return Decoded(audio=given, video=given) if isinstance(given, Missing) else given

    def probe(self, path: str) -> Probe | Missing:
        """``clips.decode.probe`` in the child; ``crashed`` or ``timeout`` where it fails."""
        given: Probe | Missing = self._read("probe", path)
        return given

    def _read(self, verb: str, *arguments: Any, **named: Any) -> Any:
        try:
            return self.ask(verb, arguments, self.timeout, **named)
        except TimeoutError:
            reason, message = Reason.TIMEOUT, f"not read within {self.timeout:g} s"
        except ChildProcessError as died:
            reason, message = Reason.CRASHED, f"the decoder died ({died})"
        except RaisedError as error:
            logger.error("%s %r: our own code raised\n%s", verb, arguments[0], error.traceback)  # noqa: TRY400 - it is the child's
            reason, message = Reason.CRASHED, str(error)
        return Missing(reason=reason, message=message)


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
