"""Packets of the chosen streams on their way to their sinks, and what became of each stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

import av

from meldflow.models.schema.media import Missing, Reason, StreamFacts


class Sink(Protocol):
    """What collects the frames of one stream."""

    refusal: Missing | None
    """Set once the stream cannot be used; nothing more is fed then."""

    def feed(self, frame: Any) -> None:
        """Add one frame."""

    def finish(self) -> Any:
        """What the frames amount to."""


S = TypeVar("S", bound=Sink)


@dataclass
class Track(Generic[S]):
    """One stream on its way into its sink."""

    stream: Any
    sink: S
    errors: list[str] = field(default_factory=list)
    encrypted: bool = False
    until_key: bool = False
    frames: int = 0

    @property
    def done(self) -> bool:
        """Whether no more packets are needed."""
        return self.sink.refusal is not None

    def take(self, packet: Any) -> None:
        """Decode one packet, or what the decoder still holds if it is empty."""
        if self.done or self._skips(packet):
            return
        try:
            for frame in packet.decode():
                self._feed(frame)
        except av.FFmpegError as error:
            self.note(line(error))
            self.until_key = self.stream.type == "video"

    def _feed(self, frame: Any) -> None:
        if self.done:
            return
        if frame.is_corrupt:
            # As a player would show it, so it is kept.
            self.note(f"frame {self.frames} is patched")
        self.sink.feed(frame)
        self.frames += 1

    def _skips(self, packet: Any) -> bool:
        if packet.has_sidedata("encryption_info"):
            self.encrypted = True
            return True
        if self.until_key and packet.size:
            self.until_key = not packet.is_keyframe
            return self.until_key
        return False

    def note(self, error: str) -> None:
        """Remember an error of the stream."""
        self.errors.append(error)


def pump(container: Any, tracks: list[Track[Any]]) -> None:
    """Send every packet to its track; after a demuxing error, what the decoders still hold."""
    by_index = {track.stream.index: track for track in tracks if not track.done}
    if not by_index:
        return
    try:
        for packet in container.demux([track.stream for track in by_index.values()]):
            # Of the packets that end a stream, only ``stream`` says which one they end.
            by_index[packet.stream.index].take(packet)
            if all(track.done for track in tracks):
                return
    except av.FFmpegError as error:
        for track in by_index.values():
            track.note(line(error))
            flush = av.Packet()
            flush.stream = track.stream
            track.take(flush)


def finished(track: Track[Any] | Missing, facts: StreamFacts | None, *, strict: bool) -> Any:
    """What the sink made of the stream, or why nothing came.

    Args:
        track: the stream, after its last packet.
        facts: what is known of it by now.
        strict: whether a damaged stream is refused.
    """
    if isinstance(track, Missing):
        return track
    if track.sink.refusal is not None:
        return track.sink.refusal
    kind = track.stream.type
    if not track.frames and track.encrypted:
        return Missing(reason=Reason.ENCRYPTED, message=f"the {kind} stream is encrypted")
    if not track.frames:
        return Missing(reason=Reason.DECODE_ERROR, message=_nothing(track))
    if strict and facts is not None and facts.damaged:
        return Missing(reason=Reason.DECODE_ERROR, message=f"damaged: {facts.damage}")
    try:
        return track.sink.finish()
    except MemoryError:  # FFmpeg's is one of its own errors as well, and says nothing of the clip
        raise
    except av.FFmpegError as error:
        return Missing(reason=Reason.DECODE_ERROR, message=line(error))


def _nothing(track: Track[Any]) -> str:
    """Why nothing was decoded."""
    kind = track.stream.type
    error = track.errors[0] if track.errors else f"the {kind} stream holds nothing"
    if kind == "video" and not track.stream.width:
        # FFmpeg forgets the size of a picture that is over its limit.
        return f"pictures of more pixels than allowed, or of no size at all: {error}"
    return error


def line(error: Exception) -> str:
    """The error in one line."""
    text = error.strerror if isinstance(error, av.FFmpegError) else str(error)
    return " ".join((text or "").split()) or type(error).__name__
