"""What a clip holds: sound, pictures, facts of its streams, and why one of them is missing."""

import math
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

BELIEVED_SECONDS = 86_400.0
"""A header that declares more is not believed: nobody else's frames shall lie 10¹⁴ behind it."""


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
    CHANGED = "changed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """An input or a feature that is not there, and why."""

    reason: Reason
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Decoded sound."""

    samples: NDArray[np.float32]
    """Mono samples at 16 kHz, shape (n_samples,), nominally within [-1, 1]; the first is heard
    when the clip starts, which is when the earlier of its two streams does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """The frames chosen from a clip, in time order."""

    frames: NDArray[np.uint8]
    """RGB, shape (n_chosen, height, width, 3); upright, square pixels, short side 256."""
    index: NDArray[np.int32]
    """Position of each chosen frame among the decoded ones, shape (n_chosen,)."""
    timestamp: NDArray[np.float32]
    """When each chosen frame is shown, seconds from the clip's start, shape (n_chosen,)."""
    entropy: NDArray[np.float32]
    """Shannon entropy of each chosen frame's 256-bin luma histogram, bits, shape (n_chosen,)."""
    n_frames: int
    """Frames decoded in all, without those passed over."""
    curve_timestamp: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """When every decoded frame is shown, seconds from the clip's start, shape (n_frames,)."""
    curve_entropy: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
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
    """When the first decoded frame is shown or heard, seconds from the clip's start; by the header
    until it is decoded."""
    declared_seconds: float = math.nan
    """Length by the header; NaN where it does not say, or cannot know."""
    seconds: float = math.nan
    """Length that was decoded; NaN until it is decoded."""
    errors: int = 0
    """Packets that could not be decoded, and frames that FFmpeg had to patch."""
    error: str = ""
    """The first of them, in FFmpeg's words."""

    @property
    def damage(self) -> str:
        """What is lost, as far as header and decoding tell, in one line; empty where nothing is.

        Either errors, or a tenth less decoded than declared (and at least 0.1 s or two frames):
        headers round, and codecs cut a few milliseconds at the edges.
        """
        many = "1 error" if self.errors == 1 else f"{self.errors} errors, first"
        errors = f"{many}: {self.error}" if self.errors else ""
        encrypted = "encrypted packets" if self.encrypted else ""
        return "; ".join(filter(None, (self._lost(), errors, encrypted)))

    def _lost(self) -> str:
        return _short_of(self.seconds, self.declared_seconds, 0.1, "s")


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioFacts(StreamFacts):
    """What is known of a clip's best audio stream; ``seconds`` is what was decoded of it.

    What is kept lasts ``start + seconds + gaps - overlaps``.
    """

    layout: str = ""
    """FFmpeg's name, e.g. ``stereo`` or ``5.1``."""
    channels: int = 0
    rate: int = 0
    """Hz, before resampling."""
    gaps: float = 0.0
    """Seconds without sound inside the stream, which silence fills."""
    overlaps: float = 0.0
    """Seconds of sound that is left out, because other sound stands where its time stamps are."""
    only_channel: int = -1
    """Number of the only channel that is heard, because the mix of all cancels; -1 for the mix."""

    def _lost(self) -> str:
        covered = self.seconds + self.gaps - self.overlaps
        return _short_of(covered, self.declared_seconds, 0.1, "s")


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
    """Those passed over included (``DecodeOptions.candidates``); -1 until it is decoded."""

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
