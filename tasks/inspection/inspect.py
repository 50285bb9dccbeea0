"""Looks into a clip: decodes it as an extraction does, and asks every extractor about it."""

import math
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.loudness import loudness
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import Record
from meldflow.models.schema.media import AudioFacts, Media, Missing, Probe, Reason, VideoFacts
from meldflow.tasks.isolated.decoder import Decoder
from meldflow.tasks.pages.text import readable

_NO_HEADER = Probe(
    seconds=math.nan, container="", streams=(), audio=AudioFacts(), video=VideoFacts()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """An array that an extractor gives for this clip."""

    array: str
    dims: tuple[str, ...]
    shape: tuple[int | None, ...]
    """None where the extractor does not tell its length before it runs."""
    dtype: str


Outcome: TypeAlias = tuple[Shape, ...] | Missing
"""What an extractor makes of a clip: its arrays, or why there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """A clip as an extraction would see it."""

    path: str
    size_bytes: int
    container: str
    """FFmpeg's name of the format; empty where the file cannot be opened."""
    streams: tuple[str, ...]
    """What every stream of the file is, by its number."""
    seconds: float
    """Duration by the container, seconds; NaN where it declares none."""
    audio_facts: AudioFacts
    video_facts: VideoFacts
    media: Media
    options: DecodeOptions
    """How it was decoded."""
    outcomes: Mapping[str, Outcome]
    """Registry name → what the extractor makes of it."""
    loudness: float | None
    """Of the sound, LUFS; None where there is none to measure."""
    descriptors: Mapping[str, NDArray[Any]]
    """Column of an extractor that was run (``f0``, ``rms``) → its values, shape (n_frames,)."""

    @property
    def used(self) -> frozenset[int]:
        """Numbers of the streams that are decoded."""
        return frozenset({self.audio_facts.index, self.video_facts.index} - {-1})

    @property
    def delay(self) -> float:
        """Seconds from the start of the pictures to that of the sound; 0 if one is unknown."""
        delay = self.audio_facts.start - self.video_facts.start
        return 0.0 if math.isnan(delay) else delay

    @property
    def lead(self) -> float:
        """Seconds of silence that stand before sound that starts late."""
        return max(0.0, self.delay)

    @property
    def pitch(self) -> tuple[float | None, float | None]:
        """Median f0, Hz, and the share of voiced frames; None for what is not known."""
        f0 = self.descriptors.get("f0")
        if f0 is None:
            return None, None
        voiced = f0[~np.isnan(f0)]
        return (float(np.median(voiced)) if voiced.size else None), voiced.size / f0.size


def look_into(path: Path, *, text: str = "", strict: bool = False) -> Inspection:
    """What an extraction would see of the clip at ``path``.

    It is decoded in a process of its own, with the default options. Extractors without weights
    are run; of the others only the shapes of their arrays are told, and nothing is loaded.

    Args:
        path: the clip; a broken one is looked into like any other.
        text: the words of the utterance, for the extractors that read.
        strict: whether damage makes a clip unusable, instead of its good part being kept.

    Raises:
        UsageError: there is no such file.
    """
    size = size_of(path)
    options = DecodeOptions(strict=strict)
    with Decoder() as decoder:
        probed = decoder.probe(os.fspath(path))
        decoded = decoder.decode(os.fspath(path), options, audio=True, video=True)
    header = _NO_HEADER if isinstance(probed, Missing) else probed
    media = Media(audio=decoded.audio, video=decoded.video, text=words(text))
    extractors = registry.usable("random")
    outcomes = {one: foresee(one, media) for one in extractors}
    computed = {
        one: ran(partial(one.setup, "cpu"), media)
        for one, outcome in outcomes.items()
        if one.published is None and not isinstance(outcome, Missing)
    }
    return Inspection(
        path=os.fspath(path),
        size_bytes=size,
        container=header.container,
        streams=header.streams,
        seconds=header.seconds,
        # A clip that kills its decoder still has a header.
        audio_facts=decoded.audio_facts or header.audio,
        video_facts=decoded.video_facts or header.video,
        media=media,
        options=options,
        outcomes={one.spec.name: outcome for one, outcome in outcomes.items()}
        | {one.spec.name: got for one, got in computed.items() if isinstance(got, Missing)},
        loudness=_loudness(media, options.sample_rate),
        descriptors=_columns(computed),
    )


def foresee(extractor: Extractor, media: Media) -> Outcome:
    """What the extractor would give for ``media``; nothing is loaded or run."""
    spec = extractor.spec
    given = getattr(media, spec.modality.value)
    if isinstance(given, Missing):
        return given
    lengths = extractor.lengths(media)
    if 0 in lengths.values():
        return Missing(reason=Reason.TOO_SHORT, message="not long enough for one frame")
    return tuple(
        Shape(
            array=one.name,
            dims=one.dims,
            shape=one.shape if one.rate is None else (lengths.get(one.name), *one.shape),
            dtype=one.dtype,
        )
        for one in spec.arrays
    )


def words(text: str) -> str | Missing:
    """The words of an utterance, or that there are none."""
    return text if text.strip() else Missing(reason=Reason.NO_TEXT, message="no text was given")


def ran(ready: Callable[[], Extractor], media: Media) -> Record:
    """What an extractor gives for one clip; ``ready`` gives it set up."""
    try:
        (record,) = ready().extract([media])
    except Exception as error:  # a run, too, notes it as the clip's and goes on
        return Missing(reason=Reason.CRASHED, message=f"{type(error).__name__}: {error}")
    return record


def size_of(path: Path) -> int:
    """Bytes of the clip at ``path``.

    Raises:
        UsageError: there is no such file.
    """
    try:
        found = path.stat()
    except OSError as error:
        raise UsageError(f"no clip at {readable(str(path))}: {error.strerror}") from error
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{readable(str(path))} is not a file: name one clip")
    return found.st_size


def _loudness(media: Media, rate: int) -> float | None:
    audio = media.audio
    level = math.nan if isinstance(audio, Missing) else loudness(audio.samples, rate)
    return level if math.isfinite(level) else None


def _columns(computed: Mapping[Extractor, Record]) -> dict[str, NDArray[Any]]:
    """The named columns of every ragged array that was computed, by name."""
    return {
        name: column
        for extractor, record in computed.items()
        if not isinstance(record, Missing)
        for array in extractor.spec.arrays
        if array.rate is not None
        for name, column in zip(array.columns, record[array.name].T, strict=False)
    }
