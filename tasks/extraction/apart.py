"""Encoding apart: in a child process, for clips that may have killed a worker."""

import contextlib
import os

from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.media import Missing, Reason
from meldflow.storage.writing.partition import Result
from meldflow.tasks.extraction.hanging import HUNG, HungError
from meldflow.tasks.extraction.payloads import Encoded, Portion, Source, Spent
from meldflow.tasks.extraction.ready import memory_limit, set_up
from meldflow.tasks.extraction.stages import encode_portion, load_media, warned
from meldflow.tasks.isolated.child import Child, Raised

LOAD_SECONDS = 600.0
"""Limit for loading an extractor's weights, which may have to be fetched first."""


def encode_apart(portion: Portion, device: str, timeout: float) -> list[Encoded]:
    """Loads and encodes in a child process, for clips that may have killed a worker.

    One by one: what kills the child, or takes too long, ends as that, and the next one gets a
    new child.
    """
    results: dict[int, Result] = {}
    loads: dict[int, Spent] = {}
    with contextlib.closing(_Apart(portion.extractor, device, timeout)) as apart:
        for source in portion.sources:
            one = apart.encode(source)
            results |= one.results
            loads |= one.loads
    name = portion.extractor.spec.name
    return [warned(Encoded(extractor=name, results=results, loads=loads), portion)]


def load(extractor: Extractor, device: str) -> None:
    """Loads the extractor's weights, in a child."""
    set_up(extractor, device)


def in_child(portion: Portion, device: str, timeout: float) -> Encoded:
    """What ``encode_apart`` asks its child for; the parent keeps the time."""
    extractor = portion.extractor
    modalities = {extractor.spec.modality}
    loaded = load_media(portion.sources, modalities, extractor.decoding, timeout)
    try:
        return encode_portion(portion, loaded, device, None)
    except HungError:
        os._exit(HUNG)  # so that this clip is what it cost


class _Apart:
    """An extractor in a child process, and in another when that one died."""

    def __init__(self, extractor: Extractor, device: str, timeout: float) -> None:
        self._extractor, self._device, self._timeout = extractor, device, timeout
        self._child: Child | None = None

    def encode(self, source: Source) -> Encoded:
        child = self._child = self._child or self._start()
        limit = 2 * self._timeout  # to load it, and to encode it
        portion = Portion(extractor=self._extractor, sources=(source,))
        try:
            answer = child.ask("in_child", (portion, self._device, self._timeout), limit)
        except TimeoutError:
            self.close()
            return self._nothing(source, Reason.TIMEOUT, f"not encoded within {limit:g} s")
        except (EOFError, OSError):
            why = child.death(self.close())
            message = f"the process that encoded it died ({why})"
            return self._nothing(source, Reason.CRASHED, message)
        if isinstance(answer, Raised):
            raise OSError(answer.line)  # what may pass, by the rules of `encode`
        encoded: Encoded = answer
        return encoded

    def close(self) -> int:
        """Ends the child; its exit code."""
        child, self._child = self._child, None
        return child.end() if child else 0

    def _start(self) -> Child:
        on_cpu = self._device == "cpu" or self._extractor.spec.resource == "cpu"
        child = Child.start(__name__, memory_limit() if on_cpu else 0)
        try:
            answer = child.ask("load", (self._extractor, self._device), LOAD_SECONDS)
        except (EOFError, OSError) as error:
            why = child.death(child.end())
            raise OSError(f"{self._extractor.spec.name} does not load apart ({why})") from error
        if isinstance(answer, Raised):
            child.end()
            raise OSError(answer.line)
        return child

    def _nothing(self, source: Source, reason: Reason, message: str) -> Encoded:
        result = Result(record=Missing(reason=reason, message=message), seconds=0.0)
        return Encoded(extractor=self._extractor.spec.name, results={source.row: result})
