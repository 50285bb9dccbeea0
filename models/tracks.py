"""Packets of the chosen streams on their way to their sinks, and what became of each stream.

Used by ``models.decode`` only.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from typing import Any, Protocol

import av

from models.schema import Missing, Reason

log = logging.getLogger(__name__)


class Sink(Protocol):
    """What collects the frames of one stream."""

    refusal: Missing | None
    """Set once the stream cannot be used; nothing more is fed then."""

    def feed(self, frame: Any) -> None:
        """Add one frame."""

    def finish(self) -> Any:
        """What the frames amount to."""


@dataclass
class Track:
    """One stream on its way into its sink."""

    stream: Any
    sink: Sink
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
            frames = packet.decode()
            for frame in frames:
                if not self.done:
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
        """Remember an error of the stream."""
        self.errors.append(line(error))


def pump(container: Any, tracks: list[Track]) -> None:
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
    except av.FFmpegError as error:
        for track in tracks:
            track.note(error)
            flush = av.Packet()
            flush.stream = track.stream
            track.take(flush)


def finished(track: Track | Missing, path: str | os.PathLike[str]) -> Any:
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
        return Missing(reason=Reason.DECODE_ERROR, message=line(error))


def line(error: Exception) -> str:
    """The error in one line."""
    return " ".join(str(error).split()) or type(error).__name__
