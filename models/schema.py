"""The records that cross package borders: utterances, media, features, reasons, errors.

Everything here is a plain value without I/O. ``storage`` may import this module of
``models`` and no other, so nothing heavy is imported from here either.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

SPLITS = ("train", "dev", "test")
CLIP_FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
"""Split → the folder that MELD's archive unpacks its clips into."""

EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
"""MELD's seven emotions, in the order of its published label ids."""
SENTIMENTS = ("neutral", "positive", "negative")
"""MELD's three sentiments, in the order of its published label ids."""


class MeldflowError(Exception):
    """A failure that one line explains; the command line prints it without a traceback."""

    exit_code = 1


class UsageError(MeldflowError):
    """The user named something that is not there or cannot be used."""

    exit_code = 2


class BusyError(UsageError):
    """Somebody else is writing where the user wants to."""


class RunError(MeldflowError):
    """A run that started and could not finish."""


class StoppedError(MeldflowError):
    """The user stopped a run."""

    exit_code = 130


class Modality(StrEnum):
    """What an extractor listens to; ``text`` depends on the words, the others on the clip."""

    AUDIO = "audio"
    VIDEO = "video"
    TEXT = "text"


class Reason(StrEnum):
    """Why an utterance has no feature: the closed list that the store may hold."""

    MISSING_FILE = "missing_file"
    UNREADABLE = "unreadable"
    NO_AUDIO = "no_audio"
    NO_VIDEO = "no_video"
    NO_TEXT = "no_text"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    DECODE_ERROR = "decode_error"
    SILENT = "silent"
    ENCRYPTED = "encrypted"
    OVERFLOW = "overflow"
    NOT_FINITE = "not_finite"
    TIMEOUT = "timeout"
    CRASHED = "crashed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An input or a feature that is not there, and why."""

    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The media file of an utterance, as found on disk."""

    path: str
    """Absolute path, also of a clip that is not there; empty when there is no clip folder."""
    sha256: bytes
    """Checksum of the file's bytes, 32 bytes; all zero when it cannot be read."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last change, nanoseconds; with ``size`` it tells that a checksum still holds."""
    seconds: float
    """Duration by the container's header, seconds; NaN when it declares none."""


def utterance_id(split: str, dialogue: int, utterance: int, name: str = "") -> str:
    """The name people see, e.g. ``train/dia12_utt3``, or ``clips/<name>`` where it has one."""
    return f"{split}/{name or f'dia{dialogue}_utt{utterance}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One row of the catalogue, keyed by its id."""

    split: str
    dialogue: int
    utterance: int
    text: str
    speaker: str
    emotion: str
    sentiment: str
    seconds: float
    """Duration by the annotation, seconds; may be zero, negative or absurd in MELD."""
    clip: Clip
    name: str = ""
    """What it is called where no dialogue and number name it: a clip of a plain folder, whose
    ``dialogue`` and ``utterance`` are -1."""

    @property
    def id(self) -> str:
        """The name people see, e.g. ``train/dia12_utt3``; no two utterances share it."""
        return utterance_id(self.split, self.dialogue, self.utterance, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Decoded sound."""

    samples: NDArray[np.float32]
    """Mono samples at 16 kHz, shape (n_samples,), nominally within [-1, 1]; the first is heard
    when the clip starts, which is when the earlier of its two streams does."""


def _no_curve() -> NDArray[np.float32]:
    return np.zeros(0, np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """The frames chosen from a clip, in time order."""

    frames: NDArray[np.uint8]
    """RGB, shape (n_chosen, height, width, 3); upright, square pixels, short side 256."""
    index: NDArray[np.int32]
    """Position of each chosen frame among the decoded ones, shape (n_chosen,)."""
    timestamp: NDArray[np.float32]
    """Presentation time of each chosen frame in seconds from the first, shape (n_chosen,)."""
    entropy: NDArray[np.float32]
    """Shannon entropy of each chosen frame's 256-bin luma histogram, bits, shape (n_chosen,)."""
    n_frames: int
    """Frames decoded in all."""
    curve_timestamp: NDArray[np.float32] = field(default_factory=_no_curve)
    """Presentation time of every decoded frame in seconds from the first, shape (n_frames,)."""
    curve_entropy: NDArray[np.float32] = field(default_factory=_no_curve)
    """Entropy of every decoded frame, bits, shape (n_frames,)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamFacts:
    """What is known of a clip's best stream of a kind; the defaults say "no such stream"."""

    index: int = -1
    """Its number in the file, from 0."""
    codec: str = ""
    """FFmpeg's name, e.g. ``aac``; ``unknown`` where it has no decoder for the stream."""
    encrypted: bool = False
    """Whether encrypted packets came; False until it is decoded."""
    start: float = math.nan
    """When the first decoded frame is shown or heard on the container's clock, seconds; by the
    header until it is decoded."""
    declared_seconds: float = math.nan
    """Length by the header; NaN where it does not say."""
    seconds: float = math.nan
    """Length that was decoded; NaN until it is decoded."""
    errors: int = 0
    """Packets that could not be decoded, and frames that FFmpeg had to patch."""
    error: str = ""
    """The first of them, in FFmpeg's words."""

    @property
    def damaged(self) -> bool:
        """Whether something of the stream is lost, as far as its header and decoding tell."""
        return bool(self.damage)

    @property
    def damage(self) -> str:
        """What is lost, in one line; empty where nothing is known to be.

        Either errors, or a tenth less decoded than declared (and at least 0.1 s or two frames):
        headers round, and codecs cut a few milliseconds at the edges.
        """
        many = "1 error" if self.errors == 1 else f"{self.errors} errors, first"
        errors = f"{many}: {self.error}" if self.errors else ""
        encrypted = "encrypted packets" if self.encrypted else ""
        return "; ".join(filter(None, (self._lost(), errors, encrypted)))

    def _lost(self) -> str:
        return _short_of(self._covered(), self.declared_seconds, 0.1, "s")

    def _covered(self) -> float:
        return self.seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts(StreamFacts):
    """What is known of a clip's best audio stream; ``seconds`` leaves out its gaps."""

    layout: str = ""
    """FFmpeg's name, e.g. ``stereo`` or ``5.1``."""
    channels: int = 0
    rate: int = 0
    """Hz, before resampling."""
    gaps: float = 0.0
    """Seconds without sound inside the stream, which silence fills."""

    def _covered(self) -> float:
        return self.seconds + self.gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFacts(StreamFacts):
    """What is known of a clip's best video stream."""

    width: int = 0
    """Pixels, as coded: before rotation and before pixels become square."""
    height: int = 0
    pixel_format: str = ""
    """FFmpeg's name, e.g. ``yuv420p``; empty where it takes decoding to know, until then."""
    rate: float = math.nan
    """Average frames per second by the header."""
    rotation: int = 0
    """Counter-clockwise degrees by which a player turns the picture: 0, 90, 180 or 270; 0 until
    it is decoded."""
    mirrored: bool = False
    """Whether a player swaps left and right before it turns; False until it is decoded."""
    interlaced: bool = False
    """Whether a decoded frame holds two fields; by the header until it is decoded."""
    frames_declared: int = 0
    """Frames by the header, those that an edit list hides included; 0 where it does not say."""
    frames_decoded: int = -1
    """-1 until it is decoded."""

    def _lost(self) -> str:
        if self.frames_decoded < 0:
            return ""
        return self._lost_frames() or StreamFacts._lost(self)

    def _lost_frames(self) -> str:
        """Frames that should have come: those declared, as far as the declared length shows them.

        An edit list shortens the length and leaves the count: of 87 frames at 60/s that are
        declared to last 1.367 s, 82 are shown. Where fields come in packets of their own, they
        may be counted as frames.
        """
        shown = self.declared_seconds * self.rate
        expected = self.frames_declared if math.isnan(shown) else min(self.frames_declared, shown)
        fields = 2 if self.interlaced else 1
        return _short_of(self.frames_decoded, expected / fields, 1.5, "frames")


def _short_of(decoded: float, declared: float, slack: float, unit: str) -> str:
    """``6 of 745 frames`` where clearly less was decoded than declared, else nothing."""
    if declared - decoded > max(slack, declared / 10):
        return f"{decoded:.6g} of {declared:.6g} {unit}"
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a clip's headers say; nothing is decoded."""

    seconds: float
    """Duration by the container, seconds; NaN where it declares none."""
    container: str
    """FFmpeg's name of the format, e.g. ``mov,mp4,m4a,3gp,3g2,mj2``."""
    streams: tuple[str, ...]
    """What every stream is, by its number: ``video``, ``audio``, ``subtitle``, ``data`` …"""
    audio: AudioFacts
    video: VideoFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """What one pass over a clip gave."""

    audio: Audio | Missing
    video: Video | Missing
    audio_facts: AudioFacts | None = None
    """None where the sound was not asked for, or the clip could not be opened."""
    video_facts: VideoFacts | None = None
    """None where the pictures were not asked for, or the clip could not be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What an extractor gets of one utterance: each modality, or why it is missing."""

    audio: Audio | Missing
    video: Video | Missing
    text: str | Missing


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """One array that an extractor gives per utterance."""

    name: str
    dims: tuple[str, ...]
    """Names of the dimensions; the first is the frame dimension if ``rate`` is set."""
    shape: tuple[int, ...]
    """Sizes of the dimensions, without the frame dimension."""
    dtype: str
    """NumPy name: ``float16``, ``float32``, ``int32``, ``uint8``."""
    rate: float | None = None
    """Rows per second for ragged arrays (one row per frame), else None."""
    may_be_nan: bool = False
    """Whether NaN says "undefined here" (unvoiced f0, masked frame)."""
    columns: tuple[str, ...] = ()
    """Names along the last dimension, where they have names."""


Features: TypeAlias = dict[str, NDArray[Any]]
"""One utterance's arrays by name; ragged ones have shape (n_frames, *shape)."""

Record: TypeAlias = Features | Missing
"""What ``extract`` gives for one utterance."""


NEVER_EXTRACTED = "never_extracted"
"""What stands for a reason where no run ever tried to extract the feature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """An utterance as a snapshot holds it, with the arrays that somebody asked for."""

    row: int
    """Its row in the store."""
    id: str
    """For example ``train/dia12_utt3``."""
    emotion: str
    """One of ``EMOTIONS``; empty where nobody said which."""
    arrays: Mapping[str, NDArray[Any]]
    """``extractor/array`` → values, shape (n_frames, …) if it is ragged, else (…); those that
    are missing are not here."""
    missing: Mapping[str, str]
    """``extractor/array`` → why it is not there: a ``Reason``, or ``NEVER_EXTRACTED``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Where the parameters of a network come from."""

    kind: str
    """``pretrained``, ``random``, ``folder`` or ``none`` (nothing to load)."""
    revision: str
    """What tells these weights from others: a digest of the file, or the seed."""
    location: str = ""
    """File or folder to load from; empty for random and none. Not part of the key."""
    model: str = ""
    """Public name of the model, e.g. ``facebook/wav2vec2-base-960h``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """What an extractor is and gives: everything that the store has to know of it."""

    name: str
    """Registry name, e.g. ``audio/wav2vec2``."""
    modality: Modality
    version: int
    """Raised by the author when the same parameters give other values."""
    arrays: tuple[ArraySpec, ...]
    weights: Weights
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON values; every one that changes the result, and none that does not."""
    resource: str = "model"
    """Dask resource that it runs on: ``cpu`` or ``model``."""

    @property
    def key(self) -> str:
        """``name@version#parameters+weights``: a stored row with another key is stale."""
        canonical = json.dumps(self.parameters, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
        return f"{self.name}@{self.version}#{digest}+{self.weights.revision}"

    def array(self, name: str) -> ArraySpec:
        """The array called ``name``.

        Raises:
            KeyError: the extractor gives no such array.
        """
        for array in self.arrays:
            if array.name == name:
                return array
        raise KeyError(f"{self.name} gives no array {name!r}")


def conform(features: Features, spec: FeatureSpec) -> Record:
    """The features in their declared dtypes, or the reason why they may not be stored.

    A value that the declared dtype cannot hold is ``overflow``; NaN or infinity where the
    array does not allow it is ``not_finite``.

    Raises:
        ValueError: an array is absent or has other dims than declared. That is a defect of
            the extractor, not of the input.
    """
    stored: Features = {}
    for array in spec.arrays:
        if array.name not in features:
            raise ValueError(f"{spec.name} gave no array {array.name!r}")
        value = np.asarray(features[array.name])
        inner = value.shape[1:] if array.rate is not None else value.shape
        if inner != array.shape:
            raise ValueError(
                f"{spec.name}/{array.name} has shape {value.shape}, declared {array.shape}"
            )
        with np.errstate(over="ignore"):
            cast = value.astype(array.dtype, copy=False)
        if cast.dtype.kind == "f":
            if np.isinf(cast).any() and not np.isinf(value).any():
                largest = float(np.nanmax(np.abs(value)))
                message = f"{array.name} reaches {largest:.4g}, too large for {array.dtype}"
                return Missing(reason=Reason.OVERFLOW, message=message)
            allowed = ~np.isinf(cast) if array.may_be_nan else np.isfinite(cast)
            if not allowed.all():
                bad = cast.size - int(allowed.sum())
                message = f"{array.name} has {bad} values that are not finite"
                return Missing(reason=Reason.NOT_FINITE, message=message)
        stored[array.name] = cast
    return stored


def rows_needed(array: ArraySpec, seconds: ArrayLike) -> NDArray[np.int64]:
    """Upper bound on the frames of clips of ``seconds``, of the same shape, for a ragged array."""
    if array.rate is None:
        raise ValueError(f"{array.name} is not ragged")
    return np.ceil(np.maximum(seconds, 0.0) * array.rate).astype(np.int64) + 2
