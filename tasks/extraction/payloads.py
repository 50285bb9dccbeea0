"""What is decoded together in a partition, and what goes from stage to stage."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.media import Audio, Media, Modality, Video
from meldflow.storage.format.catalogue import NO_FILE
from meldflow.storage.format.clip_facts import Facts
from meldflow.storage.reading.plan import PartitionPlan
from meldflow.storage.writing.partition import Result, Written


class Spent(NamedTuple):
    """Seconds that something took of a worker; its children, which decode, have their own CPU."""

    wall: float
    cpu: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What a worker needs to know of an utterance."""

    row: int
    id: str
    clip: str
    text: str
    sha256: bytes = NO_FILE
    """Of the clip, when it was listed; ``NO_FILE`` where it could not be read."""


Sources: TypeAlias = Callable[[Sequence[int]], tuple[Source, ...]]
"""Rows → what workers need to know of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What one extractor has to do of a batch."""

    extractor: Extractor
    """Not set up: its weights load once per worker process."""
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipBatch:
    """Utterances that are loaded together, and what the extractors have to do of them."""

    sources: tuple[Source, ...]
    portions: tuple[Portion, ...]
    decoding: DecodeOptions | None

    def of(self, role: str) -> tuple[Portion, ...]:
        """The portions of the extractors that run on ``role``."""
        return tuple(one for one in self.portions if one.extractor.spec.resource == role)

    @property
    def modalities(self) -> set[Modality]:
        """What has to be decoded."""
        return {one.extractor.spec.modality for one in self.portions}


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What was read of an utterance."""

    media: Media
    facts: Mapping[Modality, Facts]
    """What decoding showed, by the modalities that were decoded."""
    spent: Spent

    def __sizeof__(self) -> int:
        """What Dask takes into account when it decides where to work on it, and what to spill."""
        audio, video = self.media.audio, self.media.video
        sound = audio.samples.nbytes if isinstance(audio, Audio) else 0
        frames = video.frames.nbytes if isinstance(video, Video) else 0
        return object.__sizeof__(self) + sound + frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """What one extractor gave for its portion of a batch."""

    extractor: str
    results: Mapping[int, Result]
    """Row → result."""
    loads: Mapping[int, Spent] = field(default_factory=dict)
    """Row → what loading it took, which extractors may have shared."""
    cpu_seconds: float = 0.0
    """What encoding took of the worker; nothing is known of what was encoded apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A written partition, and how long each stage took on the workers."""

    written: Written
    seconds: Mapping[str, float]
    """``load``, extractor names and ``write`` → seconds, summed over the utterances."""
    cpu_seconds: Mapping[str, float] = field(default_factory=dict)
    """The same → CPU seconds of the workers; decoding is their children's."""


def batches(
    part: PartitionPlan, extractors: Sequence[Extractor], known: Sources, size: int
) -> Iterator[ClipBatch]:
    """The batches of a partition, such that every clip is decoded once by the same options.

    Clips come in batches of ``size``, so that their frames stay few in memory; texts are small
    and go through the encoder in one batch.
    """
    sharing: dict[DecodeOptions | None, list[Extractor]] = {}
    for extractor in extractors:
        if extractor.spec.name in part.rows:
            sharing.setdefault(extractor.decoding, []).append(extractor)
    for options, those in sharing.items():
        wanted = {one: set(part.rows[one.spec.name].tolist()) for one in those}
        rows = sorted(set().union(*wanted.values()))
        step = len(rows) if options is None else size
        for first in range(0, len(rows), step):
            sources = known(rows[first : first + step])
            own = {
                one: tuple(s for s in sources if s.row in stale) for one, stale in wanted.items()
            }
            portions = tuple(Portion(extractor=one, sources=s) for one, s in own.items() if s)
            yield ClipBatch(sources=sources, portions=portions, decoding=options)


def task_mark(run: str, partition: int) -> str:
    """What the keys of a partition's tasks have in common, after the name of their stage."""
    return f"{partition:04d}-{run}"


def partition_of_task(run: str, key: str) -> int | None:
    """The partition of a run that a task belongs to; None where it is another's."""
    number, _, rest = str(key).partition("-")[2].partition("-")
    return int(number) if rest.startswith(run) else None
