"""The stages of a partition, as they run on a Dask worker: load, encode, write.

Plain functions of their arguments. The only state is that of the worker process: the ready
extractors, whose weights load once, and the decoder, whose child outlives many clips.

A clip may crash or hang native code in ``encode``. Where it hangs, the stage says so and the
worker ends itself. What cost workers is encoded again by ``encode_apart``, which risks a child
only.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.running.device import is_gpu_lost, is_out_of_memory, release_memory
from meldflow.models.schema.features import FeatureSpec, Record
from meldflow.models.schema.media import Audio, Media, Missing, Modality, Reason, Video
from meldflow.storage.format.clip_facts import Facts
from meldflow.storage.writing.partition import Fork, Result, Written, write_partition
from meldflow.tasks.isolated.child import Child, Raised
from meldflow.tasks.isolated.decoder import Decoder

LOAD_SECONDS = 600.0
"""Limit for loading an extractor's weights, which may have to be fetched first."""

ROOM = 8
"""Clips that a batch's time limit allows for; one of more clips is rarely as slow as all that,
and where it is, they are encoded one by one."""

HUNG = 86
"""Exit code of a worker that ended itself: a clip took too long, or its GPU is lost."""

LAST_WORDS = 2.0
"""Seconds that such a worker has to say so."""

WORKER_CPU = time.thread_time
"""What loading takes of the worker, which receives what its child decodes."""

PROCESS_CPU = time.process_time
"""What encoding and writing take: OpenVINO and the store's libraries work in threads of their own.
A worker does one thing at a time, and keeping its connections alive takes next to nothing."""

T = TypeVar("T")

logger = logging.getLogger("meldflow.stages")

_of_thread = threading.local()

_READY: dict[str, tuple[tuple[Extractor, str], Extractor]] = {}
"""Name → what was asked for, and the same ready."""

_LOADING = threading.Lock()

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was read of an utterance."""

    media: Media
    facts: Mapping[Modality, Facts]
    """What decoding showed, by the modalities that were decoded."""
    seconds: float
    """How long it took."""
    cpu_seconds: float
    """What it took of this process: the child, which decodes, is not in it."""

    def __sizeof__(self) -> int:
        """What Dask takes into account when it decides where to work on it, and what to spill."""
        audio, video = self.media.audio, self.media.video
        sound = audio.samples.nbytes if isinstance(audio, Audio) else 0
        return (
            object.__sizeof__(self)
            + sound
            + (video.frames.nbytes if isinstance(video, Video) else 0)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What one extractor gave for its portion of a batch."""

    extractor: str
    results: Mapping[int, Result]
    """Row → result."""
    load_seconds: Mapping[int, float]
    """Row → what loading it took, which extractors may have shared."""
    cpu_seconds: float = 0.0
    """What encoding took of the worker; nothing is known of what was encoded apart."""
    load_cpu_seconds: Mapping[int, float] = field(default_factory=dict)
    """Row → what loading it took of the worker."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A written partition, and how long each stage took on the workers."""

    written: Written
    seconds: Mapping[str, float]
    """``load``, extractor names and ``write`` → seconds, summed over the utterances."""
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    """The same → CPU seconds of the workers; decoding is their children's."""


class HungError(Exception):
    """A batch took too long, or its GPU is lost; the worker that it hangs on ends itself."""


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
        timeout: limit per clip, seconds.

    Raises:
        HungError: it takes longer; the worker ends.
        MemoryError: one clip alone needs more memory than there is.
    """
    return [
        _warned(_encode(one, loaded, device, timeout * min(len(one.sources), ROOM)), one)
        for one in portions
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

    One by one: what kills the child, or takes too long, ends as that, and the next one gets a
    new child.
    """
    results: dict[int, Result] = {}
    seconds: dict[int, float] = {}
    with contextlib.closing(_Apart(portion.extractor, device, timeout)) as apart:
        for source in portion.sources:
            one = apart.encode(source)
            results |= one.results
            seconds |= one.load_seconds
    name = portion.extractor.spec.name
    return [_warned(Encoded(extractor=name, results=results, load_seconds=seconds), portion)]


def set_up(extractor: Extractor, device: str) -> None:
    """Loads the extractor's weights, in a child."""
    _ready(extractor, device)


def in_child(portion: Portion, device: str, timeout: float) -> Encoded:
    """What ``encode_apart`` asks its child for; the parent keeps the time."""
    extractor = portion.extractor
    modalities = {extractor.spec.modality}
    loaded = load_media(portion.sources, modalities, extractor.decoding, timeout)
    try:
        return _encode(portion, loaded, device, None)
    except HungError:
        os._exit(HUNG)  # so that this clip is what it cost


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
    cpu: defaultdict[str, float] = defaultdict(float)
    loads: dict[int, float] = {}
    load_cpu: dict[int, float] = {}
    started, cpu_before = time.perf_counter(), PROCESS_CPU()
    for one in chain.from_iterable(encoded):
        results.setdefault(one.extractor, {}).update(one.results)
        seconds[one.extractor] += sum(result.seconds for result in one.results.values())
        cpu[one.extractor] += one.cpu_seconds
        _share(loads, one.load_seconds)
        _share(load_cpu, one.load_cpu_seconds)
    written = write_partition(fork, partition, results, specs, partition_size=partition_size)
    seconds["load"] = sum(loads.values())
    seconds["write"] = time.perf_counter() - started
    cpu["load"] = sum(load_cpu.values())
    cpu["write"] = PROCESS_CPU() - cpu_before
    return Stored(written=written, seconds=dict(seconds), cpu_seconds=dict(cpu))


def _share(known: dict[int, float], one: Mapping[int, float]) -> None:
    """Adds what loading took by row; what several extractors shared counts once."""
    known |= {row: max(seconds, known.get(row, 0.0)) for row, seconds in one.items()}


def _load(
    source: Source,
    modalities: Collection[Modality],
    options: DecodeOptions | None,
    timeout: float,
) -> Loaded:
    started, cpu = time.perf_counter(), WORKER_CPU()

    def loaded(media: Media, facts: Mapping[Modality, Facts]) -> Loaded:
        return Loaded(
            media=media,
            facts=facts,
            seconds=time.perf_counter() - started,
            cpu_seconds=WORKER_CPU() - cpu,
        )

    audio, video = Modality.AUDIO in modalities, Modality.VIDEO in modalities
    if options is None or not (audio or video):
        media = Media(audio=NOT_DECODED, video=NOT_DECODED, text=source.text)
        return loaded(media, {})
    decoded = _decoder(timeout).decode(source.clip, options, audio=audio, video=video)
    shown = {Modality.AUDIO: decoded.audio_facts, Modality.VIDEO: decoded.video_facts}
    facts = {modality: one for modality, one in shown.items() if one is not None}
    for modality, one in facts.items():
        if one.damaged:
            logger.warning("%s: damaged %s: %s", source.id, modality, one.damage)
    media = Media(audio=decoded.audio, video=decoded.video, text=source.text)
    return loaded(media, facts)


def _decoder(timeout: float) -> Decoder:
    """The calling thread's decoder, which keeps its child from clip to clip."""
    decoder: Decoder | None = getattr(_of_thread, "decoder", None)
    if decoder is None:
        decoder = _of_thread.decoder = Decoder()
    decoder.timeout = timeout
    return decoder


def _ready(extractor: Extractor, device: str) -> Extractor:
    """The extractor with its weights loaded.

    One of each name is kept: another one, computing otherwise, takes its place, so that a worker
    needs the same memory however many runs it serves.
    """
    name, wanted = extractor.spec.name, (extractor, device)
    with _LOADING:
        if name not in _READY or _READY[name][0] != wanted:
            _READY.pop(name, None)  # not both in memory
            logger.info("loading %s on %s", extractor.spec.key, device)
            _READY[name] = (wanted, extractor.setup(device))
            release_memory()
        return _READY[name][1]


def _encode(
    portion: Portion, loaded: Mapping[int, Loaded], device: str, limit: float | None
) -> Encoded:
    ready, sources = _ready(portion.extractor, device), portion.sources
    started = time.perf_counter()
    media = [loaded[source.row].media for source in sources]
    records, cpu_seconds = _in_time(lambda: _timed(ready, sources, media), limit)
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
        cpu_seconds=cpu_seconds,
        load_cpu_seconds={source.row: loaded[source.row].cpu_seconds for source in sources},
    )


def _timed(
    ready: Extractor, sources: Sequence[Source], media: Sequence[Media]
) -> tuple[list[Record], float]:
    """The records, and what CPU they took."""
    before = PROCESS_CPU()
    return _extract(ready, sources, media), PROCESS_CPU() - before


def _extract(ready: Extractor, sources: Sequence[Source], media: Sequence[Media]) -> list[Record]:
    try:
        return ready.extract(media)
    except OSError:
        raise
    except Exception as error:
        said, out_of_memory = f"{type(error).__name__}: {error}", is_out_of_memory(error)
        if len(media) == 1 and not out_of_memory:
            logger.exception("%s %s: the extractor raised", sources[0].id, ready.spec.name)
    # Not in the handler: the error holds on to all that the failed attempt had in memory.
    release_memory()
    if is_gpu_lost():
        raise _ending(f"the GPU of this worker cannot be used any more ({said})")
    if len(media) > 1:
        half = len(media) // 2
        return _extract(ready, sources[:half], media[:half]) + _extract(
            ready, sources[half:], media[half:]
        )
    if out_of_memory:
        raise MemoryError(said)
    return [Missing(reason=Reason.CRASHED, message=said)]


def _in_time(work: Callable[[], T], seconds: float | None) -> T:
    """What ``work`` gives; native code that hangs cannot be interrupted, so the process ends then.

    Raises:
        HungError: it takes longer.
    """
    if seconds is None:
        return work()
    runner: ThreadPoolExecutor | None = getattr(_of_thread, "runner", None)
    if runner is None:
        runner = _of_thread.runner = ThreadPoolExecutor(1, "encode")
    future = runner.submit(work)
    if not wait([future], seconds).done:
        raise _ending(f"a batch takes more than {seconds:g} s")
    return future.result()


def _ending(why: str) -> HungError:
    """What to raise; the worker ends itself a little later."""
    logger.error("%s: the worker ends itself", why)
    threading.Timer(LAST_WORDS, os._exit, (HUNG,)).start()
    return HungError(why)


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
        child = Child.start(__name__, _memory_limit() if on_cpu else 0)
        try:
            answer = child.ask("set_up", (self._extractor, self._device), LOAD_SECONDS)
        except (EOFError, OSError) as error:
            why = child.death(child.end())
            raise OSError(f"{self._extractor.spec.name} does not load apart ({why})") from error
        if isinstance(answer, Raised):
            child.end()
            raise OSError(answer.line)
        return child

    def _nothing(self, source: Source, reason: Reason, message: str) -> Encoded:
        result = Result(record=Missing(reason=reason, message=message), seconds=0.0)
        return Encoded(
            extractor=self._extractor.spec.name,
            results={source.row: result},
            load_seconds={source.row: 0.0},
        )


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
