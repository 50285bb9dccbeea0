"""What goes from stage to stage of a partition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.media import Audio, Media, Modality, Video
from meldflow.storage.format.clip_facts import Facts
from meldflow.storage.writing.partition import Result, Written


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
