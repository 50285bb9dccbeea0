"""The stages of a partition, as they run on a Dask worker: load, encode, write.

Plain functions of their arguments. The only state is that of the worker process: the ready
extractors, whose weights load once, and the decoder, whose child outlives many clips.

A clip may crash or hang native code in ``encode``. Where it hangs, the stage says so and the
worker ends itself. What cost workers is encoded again by ``apart.encode_apart``, which risks a
child only.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.files import checksum
from meldflow.models.running.hardware import is_gpu_lost, is_out_of_memory, release_memory
from meldflow.models.schema.features import FeatureSpec, Record
from meldflow.models.schema.media import Decoded, Media, Missing, Modality, Reason
from meldflow.storage.writing.partition import Fork, Result, write_partition
from meldflow.tasks.extraction.hanging import ending, in_time
from meldflow.tasks.extraction.payloads import Encoded, Loaded, Portion, Source, Spent, Stored
from meldflow.tasks.extraction.ready import make_room, set_up
from meldflow.tasks.isolated.decoder import Decoder

ROOM = 8
"""Clips that a batch's time limit allows for; one of more clips is rarely as slow as all that,
and where it is, they are encoded one by one."""

WORKER_CPU = time.thread_time
"""What loading takes of the worker, which receives what its child decodes."""

PROCESS_CPU = time.process_time
"""What encoding and writing take: OpenVINO and the store's libraries work in threads of their own.
A worker does one thing at a time, and keeping its connections alive takes next to nothing."""

logger = logging.getLogger("meldflow.stages")


class _Own(threading.local):
    """What each thread has for itself."""

    def __init__(self) -> None:
        self.decoder = Decoder()  # which keeps its child from clip to clip


_own = _Own()

NOT_DECODED = Missing(reason=Reason.MISSING_FILE, message="the clip was not opened")

CHANGED = Missing(
    reason=Reason.CHANGED, message="not the file that was listed; the next run reads the new one"
)


def load_media(
    sources: Sequence[Source],
    modalities: Collection[Modality],
    options: DecodeOptions | None,
    timeout: float,
) -> dict[int, Loaded]:
    """Row → what was read of it; every clip is opened and decoded once, in a child process.

    It may take ``timeout`` seconds. Without options no clip is opened: the text is all there is.
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
        warned(encode_portion(one, loaded, device, timeout * min(len(one.sources), ROOM)), one)
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
    loads: dict[int, Spent] = {}
    started, cpu_before = time.perf_counter(), PROCESS_CPU()
    for one in chain.from_iterable(encoded):
        results.setdefault(one.extractor, {}).update(one.results)
        seconds[one.extractor] += sum(result.seconds for result in one.results.values())
        cpu[one.extractor] += one.cpu_seconds
        # What several extractors shared counts once.
        loads |= {row: max(spent, loads.get(row, spent)) for row, spent in one.loads.items()}
    written = write_partition(fork, partition, results, specs, partition_size=partition_size)
    seconds["load"] = sum(one.wall for one in loads.values())
    seconds["write"] = time.perf_counter() - started
    cpu["load"] = sum(one.cpu for one in loads.values())
    cpu["write"] = PROCESS_CPU() - cpu_before
    return Stored(written=written, seconds=dict(seconds), cpu_seconds=dict(cpu))


def _load(
    source: Source, modalities: Collection[Modality], options: DecodeOptions | None, timeout: float
) -> Loaded:
    started, cpu = time.perf_counter(), WORKER_CPU()

    audio, video = Modality.AUDIO in modalities, Modality.VIDEO in modalities
    decoded = Decoded(audio=NOT_DECODED, video=NOT_DECODED)
    if options is not None and (audio or video):
        _own.decoder.timeout = timeout
        decoded = _own.decoder.decode(source.clip, options, audio=audio, video=video)
        # Afterwards, so that what is written over it meanwhile shows; 0.5 ms per megabyte.
        if (checksum(source.clip) or source.sha256) != source.sha256:
            decoded = Decoded(audio=CHANGED, video=CHANGED)
    shown = {Modality.AUDIO: decoded.audio_facts, Modality.VIDEO: decoded.video_facts}
    facts = {modality: one for modality, one in shown.items() if one is not None}
    for modality, one in facts.items():
        if one.damage:
            logger.warning("%s: damaged %s: %s", source.id, modality, one.damage)
    media = Media(audio=decoded.audio, video=decoded.video, text=source.text)
    spent = Spent(time.perf_counter() - started, WORKER_CPU() - cpu)
    return Loaded(media=media, facts=facts, spent=spent)


def encode_portion(
    portion: Portion, loaded: Mapping[int, Loaded], device: str, limit: float | None
) -> Encoded:
    """What the extractor of a portion gives for it, within ``limit`` seconds (None: however long).

    Raises:
        HungError: see ``encode``.
    """
    ready, sources = set_up(portion.extractor, device), portion.sources
    media = [loaded[source.row].media for source in sources]

    def timed() -> tuple[list[Record], float]:
        before = PROCESS_CPU()
        return _extract(ready, sources, media), PROCESS_CPU() - before

    started = time.perf_counter()
    records, cpu_seconds = in_time(timed, limit)
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
        loads={source.row: loaded[source.row].spent for source in sources},
        cpu_seconds=cpu_seconds,
    )


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
    if is_gpu_lost():  # asked first: on a lost one, giving memory back fails as well
        raise ending(f"the GPU of this worker cannot be used any more ({said})")
    make_room() if out_of_memory else release_memory()
    if len(media) > 1:
        half = len(media) // 2
        return _extract(ready, sources[:half], media[:half]) + _extract(
            ready, sources[half:], media[half:]
        )
    if out_of_memory:
        raise MemoryError(said)
    return [Missing(reason=Reason.CRASHED, message=said)]


def warned(encoded: Encoded, portion: Portion) -> Encoded:
    """``encoded``, after a line in the run's log for every row that failed."""
    for source in portion.sources:
        record = encoded.results[source.row].record
        if isinstance(record, Missing):
            reason, message = record.reason, record.message
            logger.warning("%s %s: %s %s", source.id, encoded.extractor, reason, message)
    return encoded
