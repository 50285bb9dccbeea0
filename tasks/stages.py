"""The stages of a partition, as they run on a Dask worker: load, encode, write.

Plain functions of their arguments. The only state is the cache of ready extractors, so that
weights load once per worker process.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from models.decode import decode
from models.extractor import Extractor
from models.options import DecodeOptions
from models.schema import FeatureSpec, Media, Missing, Modality, Reason, Record
from storage.write import Fork, Result, Written, write_partition

logger = logging.getLogger("meldflow.stages")

NOT_DECODED = Missing(reason=Reason.MISSING_FILE, message="the clip was not opened")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a worker needs to know of an utterance."""

    row: int
    id: str
    clip: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What one extractor gave for one batch."""

    extractor: str
    results: Mapping[int, Result]
    """Row → result."""


def load_media(
    sources: Sequence[Source], modalities: Collection[Modality], options: DecodeOptions | None
) -> dict[int, Media]:
    """Row → media with the wanted modalities; every clip is opened and decoded once.

    Without ``options`` no clip is opened, and the media hold the text alone.
    """
    return {source.row: _load(source, modalities, options) for source in sources}


def encode(
    extractor: Extractor, sources: Sequence[Source], media: Mapping[int, Media], device: str
) -> Encoded:
    """The extractor's records of ``sources``, in one batch.

    A clip that raises costs itself: the batch is taken apart and the guilty row ends as
    ``crashed``. Errors that another try may mend (I/O, memory) are raised.
    """
    ready = _ready(extractor, device)
    started = time.perf_counter()
    records = _extract(ready, sources, [media[source.row] for source in sources])
    seconds = (time.perf_counter() - started) / max(1, len(sources))
    for source, record in zip(sources, records, strict=True):
        if isinstance(record, Missing):
            name = extractor.spec.name
            logger.warning("%s %s: %s %s", source.id, name, record.reason, record.message)
    return Encoded(
        extractor=extractor.spec.name,
        results={
            source.row: Result(record=record, seconds=seconds)
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


def _load(source: Source, modalities: Collection[Modality], options: DecodeOptions | None) -> Media:
    if options is None:
        return Media(audio=NOT_DECODED, video=NOT_DECODED, text=source.text)
    wanted = {name: Modality(name) in modalities for name in ("audio", "video")}
    audio, video = decode(source.clip, options, **wanted)
    return Media(audio=audio, video=video, text=source.text)


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
