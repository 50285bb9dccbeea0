"""The stages of a partition, as they run on a Dask worker: load, encode, write.

Plain functions of their arguments. The only state is that of the worker process: the ready
extractors, whose weights load once, and the decoder, whose child outlives many clips.

A clip may crash or hang native code in ``encode``. A hang becomes a death, by a timer that ends
the worker; what killed workers is encoded again by ``encode_apart``, which risks a child only.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from models.extractor import Extractor
from models.memory import release_memory
from models.options import DecodeOptions
from models.schema import FeatureSpec, Media, Missing, Modality, Reason, Record
from storage.facts import Facts
from storage.write import Fork, Result, Written, write_partition
from tasks.child import Child, Raised
from tasks.decoder import Decoder

LOAD_SECONDS = 600.0
"""Limit for loading an extractor's weights, which may have to be fetched first."""

HUNG = 86
"""Exit code of a worker that ended itself because a clip took too long."""

logger = logging.getLogger("meldflow.stages")

_of_thread = threading.local()

NOT_DECODED = Missing(reason=Reason.MISSING_FILE, message="the clip was not opened")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a worker needs to know of an utterance."""

    row: int
    id: str
    clip: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What one extractor has to do of a batch."""

    extractor: Extractor
    """Not set up: its weights load once per worker process."""
    sources: tuple[Source, ...]

    @property
    def halves(self) -> tuple[Portion, Portion]:
        """The portion in two."""
        middle = len(self.sources) // 2
        first, second = self.sources[:middle], self.sources[middle:]
        return replace(self, sources=first), replace(self, sources=second)


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was read of an utterance."""

    media: Media
    facts: Mapping[Modality, Facts]
    """What decoding showed, by the modalities that were decoded."""
    seconds: float
    """How long it took."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What one extractor gave for its portion of a batch."""

    extractor: str
    results: Mapping[int, Result]
    """Row → result."""
    load_seconds: Mapping[int, float]
    """Row → what loading it took, which extractors may have shared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A written partition, and how long each stage took on the workers."""

    written: Written
    seconds: Mapping[str, float]
    """``load``, extractor names and ``write`` → seconds, summed over the utterances."""


class Died(Exception):
    """The clips of a batch killed the child that encoded them, or it took too long."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(reason, message)
        self.reason = reason
        self.message = message


def load_media(
    sources: Sequence[Source],
    modalities: Collection[Modality],
    options: DecodeOptions | None,
    timeout: float,
) -> dict[int, Loaded]:
    """Row → what was read of it; every clip is opened and decoded once, in a child process.

    Args:
        sources: the utterances.
        modalities: those to decode.
        options: how to decode; None opens no clip, and the media hold the text alone.
        timeout: limit per clip, seconds.
    """
    return {source.row: _load(source, modalities, options, timeout) for source in sources}


def encode(
    portions: Iterable[Portion], loaded: Mapping[int, Loaded], device: str, timeout: float
) -> list[Encoded]:
    """The records of each portion, one batch of its extractor.

    A clip that raises costs itself: the batch is halved until the guilty row is alone, and that
    one ends as ``crashed``. So does a batch that needs more memory than the device has. Errors
    that another try may mend (I/O) are raised.

    Args:
        portions: what each extractor has to do.
        loaded: row → what was read of it.
        device: where the networks run.
        timeout: limit per clip, seconds; a worker that takes longer ends itself.
    """
    return [
        _warned(_encode(one, loaded, device, timeout * len(one.sources)), one) for one in portions
    ]


def load_and_encode(
    sources: Sequence[Source],
    portions: Sequence[Portion],
    options: DecodeOptions | None,
    device: str,
    timeout: float,
) -> list[Encoded]:
    """Both in one go, where one worker can do both: what is decoded never leaves it."""
    modalities = {one.extractor.spec.modality for one in portions}
    return encode(portions, load_media(sources, modalities, options, timeout), device, timeout)


def encode_apart(portion: Portion, device: str, timeout: float) -> list[Encoded]:
    """Loads and encodes in a child process, for clips that may have killed a worker.

    Raises:
        Died: the child died or took too long; of one source, that is what it ends as.
    """
    limit = 2 * timeout * (len(portion.sources) + 1)
    child = Child.start(__name__, _memory_limit() if device == "cpu" else 0)
    try:
        child.ask("set_up", (portion, device), LOAD_SECONDS)
        answer = child.ask("in_child", (portion, device, timeout), limit)
    except TimeoutError:
        raise Died(Reason.TIMEOUT, f"not encoded within {limit:g} s") from None
    except (EOFError, OSError):
        why = child.death(child.end())
        raise Died(Reason.CRASHED, f"the process that encoded it died ({why})") from None
    finally:
        child.end()
    if isinstance(answer, Raised):
        raise OSError(answer.line)  # what may pass, by the rules of `encode`
    return [_warned(answer, portion)]


def set_up(portion: Portion, device: str) -> None:
    """Loads the extractor's weights, in a child."""
    _ready(portion.extractor, device)


def in_child(portion: Portion, device: str, timeout: float) -> Encoded:
    """What ``encode_apart`` asks its child for; the parent keeps the time."""
    extractor = portion.extractor
    modalities = {extractor.spec.modality}
    loaded = load_media(portion.sources, modalities, extractor.decoding, timeout)
    return _encode(portion, loaded, device, None)


def refused(portion: Portion, reason: Reason, message: str) -> list[Encoded]:
    """What utterances end as that nothing could be made of."""
    result = Result(record=Missing(reason=reason, message=message), seconds=0.0)
    rows = [source.row for source in portion.sources]
    encoded = Encoded(
        extractor=portion.extractor.spec.name,
        results=dict.fromkeys(rows, result),
        load_seconds=dict.fromkeys(rows, 0.0),
    )
    return [_warned(encoded, portion)]


def write(
    fork: Fork,
    partition: int,
    encoded: Iterable[list[Encoded]],
    specs: Sequence[FeatureSpec],
    partition_size: int,
) -> Stored:
    """Writes all batches of a partition through the fork."""
    results: dict[str, dict[int, Result]] = {}
    seconds: defaultdict[str, float] = defaultdict(float)
    loads: dict[int, float] = {}
    started = time.perf_counter()
    for one in chain.from_iterable(encoded):
        results.setdefault(one.extractor, {}).update(one.results)
        seconds[one.extractor] += sum(result.seconds for result in one.results.values())
        loads |= {row: max(s, loads.get(row, 0.0)) for row, s in one.load_seconds.items()}
    written = write_partition(fork, partition, results, specs, partition_size=partition_size)
    seconds["load"] = sum(loads.values())
    seconds["write"] = time.perf_counter() - started
    return Stored(written=written, seconds=dict(seconds))


def _load(
    source: Source,
    modalities: Collection[Modality],
    options: DecodeOptions | None,
    timeout: float,
) -> Loaded:
    started = time.perf_counter()
    audio, video = Modality.AUDIO in modalities, Modality.VIDEO in modalities
    if options is None or not (audio or video):
        media = Media(audio=NOT_DECODED, video=NOT_DECODED, text=source.text)
        return Loaded(media=media, facts={}, seconds=time.perf_counter() - started)
    decoded = _decoder(timeout).decode(source.clip, options, audio=audio, video=video)
    shown = {Modality.AUDIO: decoded.audio_facts, Modality.VIDEO: decoded.video_facts}
    facts = {modality: one for modality, one in shown.items() if one is not None}
    for modality, one in facts.items():
        if one.damaged:
            logger.warning("%s: damaged %s: %s", source.id, modality, one.damage)
    media = Media(audio=decoded.audio, video=decoded.video, text=source.text)
    return Loaded(media=media, facts=facts, seconds=time.perf_counter() - started)


def _decoder(timeout: float) -> Decoder:
    """The calling thread's decoder, which keeps its child from clip to clip."""
    decoder: Decoder | None = getattr(_of_thread, "decoder", None)
    if decoder is None:
        decoder = _of_thread.decoder = Decoder()
    decoder.timeout = timeout
    return decoder


@functools.cache
def _ready(extractor: Extractor, device: str) -> Extractor:
    logger.info("loading %s on %s", extractor.spec.key, device)
    return extractor.setup(device)


def _encode(
    portion: Portion, loaded: Mapping[int, Loaded], device: str, limit: float | None
) -> Encoded:
    ready, sources = _ready(portion.extractor, device), portion.sources
    started = time.perf_counter()
    with _limited(limit):
        records = _extract(ready, sources, [loaded[source.row].media for source in sources])
    seconds = (time.perf_counter() - started) / max(1, len(sources))
    modality = ready.spec.modality
    return Encoded(
        extractor=ready.spec.name,
        results={
            source.row: Result(
                record=record, seconds=seconds, facts=loaded[source.row].facts.get(modality)
            )
            for source, record in zip(sources, records, strict=True)
        },
        load_seconds={source.row: loaded[source.row].seconds for source in sources},
    )


def _extract(ready: Extractor, sources: Sequence[Source], media: Sequence[Media]) -> list[Record]:
    try:
        return ready.extract(media)
    except OSError:
        raise
    except Exception as error:
        if len(media) > 1:
            release_memory()
            half = len(media) // 2
            return _extract(ready, sources[:half], media[:half]) + _extract(
                ready, sources[half:], media[half:]
            )
        if isinstance(error, MemoryError):
            raise
        logger.exception("%s %s: the extractor raised", sources[0].id, ready.spec.name)
        return [Missing(reason=Reason.CRASHED, message=f"{type(error).__name__}: {error}")]


@contextlib.contextmanager
def _limited(seconds: float | None) -> Iterator[None]:
    """Ends this process if the block takes longer: native code that hangs cannot be interrupted."""
    if seconds is None:
        yield
        return

    def end() -> None:
        logger.error("a batch takes more than %g s: the worker ends itself", seconds)
        time.sleep(0.5)  # for the line to be sent
        os._exit(HUNG)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _memory_limit() -> int:
    """What a child may allocate: as much as its worker, 0 where that has no limit."""
    from distributed import get_worker

    try:
        return int(get_worker().memory_manager.memory_limit or 0)
    except ValueError:  # not on a worker
        return 0


def _warned(encoded: Encoded, portion: Portion) -> Encoded:
    """``encoded``, after a line in the run's log for every row that failed."""
    for source in portion.sources:
        record = encoded.results[source.row].record
        if isinstance(record, Missing):
            reason, message = record.reason, record.message
            logger.warning("%s %s: %s %s", source.id, encoded.extractor, reason, message)
    return encoded
