"""Encoding apart: in a child process, for clips that may have killed a worker."""

import os
from dataclasses import replace

from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.media import Missing, Reason
from meldflow.storage.writing.partition import Result
from meldflow.tasks.extraction.hanging import HUNG, HungError
from meldflow.tasks.extraction.payloads import Encoded, Portion, Spent
from meldflow.tasks.extraction.ready import memory_limit, set_up
from meldflow.tasks.extraction.stages import encode_portion, load_media, warned
from meldflow.tasks.isolated.child import Child, RaisedError

LOAD_SECONDS = 600.0
"""Limit for loading an extractor's weights, which may have to be fetched first."""


def encode_apart(portion: Portion, device: str, timeout: float) -> list[Encoded]:
    """Loads and encodes in a child process, for clips that may have killed a worker.

    One by one: what kills the child, or takes too long, ends as that, and the next one gets a
    new child.
    """
    results: dict[int, Result] = {}
    loads: dict[int, Spent] = {}
    spec = portion.extractor.spec
    on_cpu = device == "cpu" or spec.resource == "cpu"
    with Child(__name__, memory_limit() if on_cpu else 0) as child:
        for source in portion.sources:
            one = _ask(child, replace(portion, sources=(source,)), device, timeout)
            results |= one.results
            loads |= one.loads
    return [warned(Encoded(extractor=spec.name, results=results, loads=loads), portion)]


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


def _ask(child: Child, portion: Portion, device: str, timeout: float) -> Encoded:
    """What a child makes of one clip.

    Raises:
        OSError: what may pass, by the rules of ``encode``, or the extractor does not load.
    """
    name, (source,) = portion.extractor.spec.name, portion.sources
    limit = 2 * timeout  # to load the clip, and to encode it
    try:
        if not child.runs:
            _load(child, portion.extractor, device)
        encoded: Encoded = child.ask("in_child", (portion, device, timeout), limit)
    except RaisedError as error:
        raise OSError(str(error)) from error
    except TimeoutError:
        missing = Missing(reason=Reason.TIMEOUT, message=f"not encoded within {limit:g} s")
    except ChildProcessError as died:
        message = f"the process that encoded it died ({died})"
        missing = Missing(reason=Reason.CRASHED, message=message)
    else:
        return encoded
    result = Result(record=missing, seconds=0.0)
    return Encoded(extractor=name, results={source.row: result})


def _load(child: Child, extractor: Extractor, device: str) -> None:
    try:
        child.ask("load", (extractor, device), LOAD_SECONDS)
    except OSError as error:
        raise OSError(f"{extractor.spec.name} does not load apart ({error})") from error
