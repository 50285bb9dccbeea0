"""The stages of a partition, as they run on a Dask worker: load, encode, write.

Plain functions of their arguments. The only state is that of the worker process: the ready
extractors, whose weights load once, and the decoder, whose child outlives many clips.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.extractor import Extractor
from models.options import DecodeOptions
from models.schema import FeatureSpec, Media, Missing, Modality, Reason, Record
from storage.facts import Facts
from storage.write import Fork, Result, Written, write_partition
from tasks.decoder import Decoder

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
class Loaded:
    """What was read of an utterance."""

    media: Media
    facts: Mapping[Modality, Facts]
    """What decoding showed, by the modalities that were decoded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What one extractor gave for one batch."""

    extractor: str
    results: Mapping[int, Result]
    """Row → result."""


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
    extractor: Extractor, sources: Sequence[Source], loaded: Mapping[int, Loaded], device: str
) -> Encoded:
    """The extractor's records of ``sources``, in one batch.

    A clip that raises costs itself: the batch is taken apart and the guilty row ends as
    ``crashed``. Errors that another try may mend (I/O, memory) are raised.
    """
    ready = _ready(extractor, device)
    started = time.perf_counter()
    records = _extract(ready, sources, [loaded[source.row].media for source in sources])
    seconds = (time.perf_counter() - started) / max(1, len(sources))
    for source, record in zip(sources, records, strict=True):
        if isinstance(record, Missing):
            name = extractor.spec.name
            logger.warning("%s %s: %s %s", source.id, name, record.reason, record.message)
    modality = extractor.spec.modality
    return Encoded(
        extractor=extractor.spec.name,
        results={
            source.row: Result(
                record=record, seconds=seconds, facts=loaded[source.row].facts.get(modality)
            )
            for source, record in zip(sources, records, strict=True)
        },
    )


def write(
    fork: Fork,
    partition: int,
    encoded: Iterable[Encoded],
    specs: Sequence[FeatureSpec],
    partition_size: int,
) -> Written:
    """Writes all batches of a partition through the fork."""
    results: dict[str, dict[int, Result]] = {}
    for one in encoded:
        results.setdefault(one.extractor, {}).update(one.results)
    return write_partition(fork, partition, results, specs, partition_size=partition_size)


def _load(
    source: Source,
    modalities: Collection[Modality],
    options: DecodeOptions | None,
    timeout: float,
) -> Loaded:
    if options is None:
        media = Media(audio=NOT_DECODED, video=NOT_DECODED, text=source.text)
        return Loaded(media=media, facts={})
    decoded = _decoder(timeout).decode(
        source.clip,
        options,
        audio=Modality.AUDIO in modalities,
        video=Modality.VIDEO in modalities,
    )
    shown = {Modality.AUDIO: decoded.audio_facts, Modality.VIDEO: decoded.video_facts}
    facts = {modality: one for modality, one in shown.items() if one is not None}
    for modality, one in facts.items():
        if one.damaged:
            logger.warning("%s: damaged %s: %s", source.id, modality, one.damage)
    media = Media(audio=decoded.audio, video=decoded.video, text=source.text)
    return Loaded(media=media, facts=facts)


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


def _extract(ready: Extractor, sources: Sequence[Source], media: Sequence[Media]) -> list[Record]:
    try:
        return ready.extract(media)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        if len(media) > 1:
            return [
                _extract(ready, [source], [one])[0]
                for source, one in zip(sources, media, strict=True)
            ]
        logger.exception("%s %s: the extractor raised", sources[0].id, ready.spec.name)
        return [Missing(reason=Reason.CRASHED, message=f"{type(error).__name__}: {error}")]
