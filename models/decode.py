"""One pass over a clip: its sound and its best pictures, or the reason why there are none.

``decode`` never raises for a bad file. Each modality ends as data or as a
``Missing`` of its own, so that one broken stream never costs the other.
"""

from __future__ import annotations

import logging
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import av

from models.pictures import Pictures
from models.schema import Audio, Missing, Reason, Video
from models.sound import Sound
from models.streams import best_audio, best_video, start_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How clips are decoded; part of the key of every extractor that hears or sees them."""

    sample_rate: int = 16000
    """Rate of the decoded sound, Hz."""
    silence: float = 1e-4
    """Sound whose largest magnitude stays below this (-80 dBFS) is ``silent``."""
    frames: int = 10
    """Frames kept per clip: those of highest luma entropy."""
    short_side: int = 256
    """Shorter side of a kept frame, pixels."""
    max_seconds: float = 600.0
    """A stream that runs longer is ``too_long``."""
    max_pixels: int = 4096 * 2304
    """A larger picture is a ``decode_error``: its frames would not fit in a worker's memory."""
    version: int = 1
    """Raised by the author when the same options give other values."""

    @property
    def audio_parameters(self) -> dict[str, Any]:
        """What decides the decoded sound, as JSON values."""
        return {
            "decode_version": self.version,
            "downmix": "itu-r-bs.775",
            "max_seconds": self.max_seconds,
            "resampler": "soxr-hq",
            "sample_rate": self.sample_rate,
            "silence": self.silence,
        }

    @property
    def video_parameters(self) -> dict[str, Any]:
        """What decides the chosen frames, as JSON values."""
        return {
            "choice": "luma-entropy",
            "decode_version": self.version,
            "frames": self.frames,
            "max_pixels": self.max_pixels,
            "max_seconds": self.max_seconds,
            "resize": "pillow-bilinear",
            "short_side": self.short_side,
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides what ``decode`` gives, as JSON values."""
        return self.audio_parameters | self.video_parameters


def decode(
    path: str | os.PathLike[str],
    options: DecodeOptions | None = None,
    *,
    audio: bool = True,
    video: bool = True,
) -> tuple[Audio | Missing, Video | Missing]:
    """The sound and the chosen frames of the file at ``path``, read once, in bounded memory.

    The path is a local file and nothing else: it is opened here and handed to FFmpeg as
    bytes without a name, and FFmpeg may open nothing further, so no name and no playlist
    leads it to another file or address.

    The best streams are used, not the first (``models.streams``).

    What was decoded before an error is kept. Pictures after it are used again from the next
    key frame on, where nothing refers to the damaged part; lost sound becomes silence.

    Args:
        path: the clip.
        options: how to decode; None means the defaults.
        audio: whether the sound is wanted; if not, it is ``no_audio``.
        video: whether the pictures are wanted; if not, they are ``no_video``.
    """
    options = options or DecodeOptions()
    refused = _refuse(path)
    if refused is not None:
        return refused, refused
    try:
        with Path(path).open("rb") as file, _open(file) as container:
            heard, seen = _tracks(container, options, audio=audio, video=video)
            _pump(container, [one for one in (heard, seen) if isinstance(one, _Track)])
            return _finished(heard, path), _finished(seen, path)
    except (av.FFmpegError, OSError) as error:
        missing = Missing(reason=Reason.UNREADABLE, message=_line(error))
        return missing, missing


def _refuse(path: str | os.PathLike[str]) -> Missing | None:
    """Why the path cannot be opened as a file, if so."""
    try:
        mode = os.stat(path).st_mode if os.fspath(path) else None  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError, ValueError):
        mode = None  # ValueError: the name holds a null byte, so no file can have it
    except OSError as error:
        return Missing(reason=Reason.UNREADABLE, message=_line(error))
    if mode is None:
        return Missing(reason=Reason.MISSING_FILE, message=f"no file at {os.fspath(path)!r}")
    if not stat.S_ISREG(mode):
        return Missing(reason=Reason.UNREADABLE, message="not a regular file")
    return None


class _Nameless:
    """A file without its name, which FFmpeg would take as a hint on format and protocol."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
        self.seek = file.seek
        self.tell = file.tell


def _open(file: BinaryIO) -> Any:
    return av.open(
        _Nameless(file),
        mode="r",
        metadata_errors="replace",
        buffer_size=1 << 18,
        io_open=_nothing_further,
        container_options={"protocol_whitelist": "none"},
    )


def _nothing_further(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError(f"the clip refers to {url!r}")


class _Sink(Protocol):
    refusal: Missing | None

    def feed(self, frame: Any) -> None: ...

    def finish(self) -> Any: ...


@dataclass
class _Track:
    """One stream on its way into its sink."""

    stream: Any
    sink: _Sink
    errors: list[str] = field(default_factory=list)
    encrypted: bool = False
    until_key: bool = False
    frames: int = 0

    @property
    def done(self) -> bool:
        return self.sink.refusal is not None

    def take(self, packet: Any) -> None:
        """Decode one packet, or what the decoder still holds if it is empty."""
        if self.done or self._skips(packet):
            return
        try:
            frames = packet.decode()
            for frame in frames:
                self.sink.feed(frame)
        except av.FFmpegError as error:
            self.note(error)
            self.until_key = self.stream.type == "video"
            return
        self.frames += len(frames)

    def _skips(self, packet: Any) -> bool:
        if packet.has_sidedata("encryption_info"):
            self.encrypted = True
            return True
        if self.until_key and packet.size:
            self.until_key = not packet.is_keyframe
            return self.until_key
        return False

    def note(self, error: Exception) -> None:
        self.errors.append(_line(error))


def _tracks(
    container: Any, options: DecodeOptions, *, audio: bool, video: bool
) -> tuple[_Track | Missing, _Track | Missing]:
    picture, sound = best_video(container), best_audio(container)
    # The sound's lead is measured against the video stream whether or not that is wanted
    # now, so that the same clip always gives the same samples.
    start = None if picture is None else start_of(picture)
    return (
        _track(sound, Sound(options, start), Reason.NO_AUDIO, wanted=audio),
        _track(picture, Pictures(options, picture), Reason.NO_VIDEO, wanted=video),
    )


def _track(stream: Any, sink: _Sink, absent: Reason, *, wanted: bool) -> _Track | Missing:
    if not wanted:
        return Missing(reason=absent, message="not asked for")
    if stream is None:
        return Missing(reason=absent, message="the file has no such stream")
    if stream.codec_context is None:
        return Missing(reason=Reason.DECODE_ERROR, message=f"no decoder for the {stream.type}")
    # Workers x threads = cores, so the decoder itself gets one thread.
    stream.codec_context.thread_count = 1
    return _Track(stream, sink)


def _pump(container: Any, tracks: list[_Track]) -> None:
    """Send every packet to its track; after a demuxing error, what the decoders still hold."""
    by_index = {track.stream.index: track for track in tracks}
    if not tracks:
        return
    try:
        for packet in container.demux([track.stream for track in tracks]):
            # Of the packets that end a stream, only ``stream`` says which one they end.
            by_index[packet.stream.index].take(packet)
            if all(track.done for track in tracks):
                return
    except (av.FFmpegError, OSError) as error:
        for track in tracks:
            track.note(error)
            flush = av.Packet()
            flush.stream = track.stream
            track.take(flush)


def _finished(track: _Track | Missing, path: str | os.PathLike[str]) -> Any:
    """What the sink made of the stream, or why nothing came."""
    if isinstance(track, Missing):
        return track
    if track.sink.refusal is not None:
        return track.sink.refusal
    kind = track.stream.type
    if not track.frames and track.encrypted:
        return Missing(reason=Reason.ENCRYPTED, message=f"the {kind} stream is encrypted")
    if not track.frames:
        message = track.errors[0] if track.errors else f"the {kind} stream holds nothing"
        return Missing(reason=Reason.DECODE_ERROR, message=message)
    if track.errors:
        facts = (path, kind, track.frames, len(track.errors), track.errors[0])
        log.warning("%s: %s damaged, kept %d frames; %d errors, first: %s", *facts)
    try:
        return track.sink.finish()
    except av.FFmpegError as error:
        return Missing(reason=Reason.DECODE_ERROR, message=_line(error))


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
