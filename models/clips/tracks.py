"""Packets of the chosen streams on their way to their sinks, and what became of each stream."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import av
from av.format import Flags

from meldflow.models.clips.choice import best_audio, best_video, clip_start
from meldflow.models.clips.keyframes import Pictures
from meldflow.models.clips.nvdec import Nvdec
from meldflow.models.clips.sound import Sound
from meldflow.models.schema.media import Missing, Reason, StreamFacts

S = TypeVar("S", bound=Sound | Pictures)

_LEAPS = {True: (0.1, 10.0), False: (1.0, math.inf)}
"""Whether a format is known for joined clocks (MPEG streams, Ogg) → seconds back and ahead from
which time stamps leap: those of FFmpeg's command line. Less ahead is a hole in the recording. In
other formats every hole is what the author meant, and a small step back a packet that came late."""


class Clock:
    """The packets of a container's best streams, on one clock that runs on.

    Recordings that were cut and joined bring the clock of every part along: it jumps, or starts
    again. A packet after a leap is moved to the end of the one before it in its stream, and later
    ones of its part with it, whatever their stream. Both streams are always followed, so that a
    clip always has the same times.
    """

    def __init__(self, container: Any) -> None:
        """Follow the two streams of the container from its first packet on."""
        self.zero = clip_start(container)
        """The clip's start on that clock, seconds; None: its first frame."""
        self.shift = 0.0
        """What the latest part's time stamps are moved by, seconds."""
        self._container = container
        both = (best_audio(container), best_video(container))
        self._streams = [one for one in both if one is not None and one.codec_context is not None]
        self._ticks = {one.index: float(one.time_base) for one in self._streams}
        self._leaps = _LEAPS[bool(container.format.flags & Flags.ts_discont.value)]
        self._last: dict[int, tuple[float, float, float]] = {}
        """Stream → the last packet's time stamp (or its due one, if earlier), end, and shift."""

    def packets(self) -> Iterator[Any]:
        """Every packet of the two streams, and those that end them."""
        for packet in self._container.demux(self._streams):
            # What an edit list hides has times before the edit.
            if packet.dts is not None and not packet.is_discard:
                self._follow(packet)
            yield packet

    def _follow(self, packet: Any) -> None:
        index, (back, ahead) = packet.stream_index, self._leaps
        tick = self._ticks[index]
        time: float = packet.dts * tick
        fresh = (time + self.shift, time + self.shift, self.shift)
        last, end, before = self._last.get(index, fresh)
        for shift in (before, self.shift):
            if last - back <= time + shift <= end + ahead:
                break
        else:
            shift = self.shift = end - time
        if shift:
            packet.dts += round(shift / tick)
            packet.pts = None if packet.pts is None else packet.pts + round(shift / tick)
        time += shift
        self._last[index] = (min(end, time), time + (packet.duration or 0) * tick, shift)


@dataclass
class Track(Generic[S]):
    """One stream on its way into its sink."""

    stream: Any
    sink: S
    clock: Clock
    card: Nvdec | None = None
    """What decodes it; None: the stream's own decoder."""
    errors: list[str] = field(default_factory=list)
    encrypted: bool = False
    until_key: bool = False
    frames: int = 0
    packets: int = 0
    """Of a picture each, decoded or passed over without an error."""

    @property
    def done(self) -> bool:
        """Whether no more packets are needed."""
        return self.sink.refusal is not None

    def take(self, packet: Any) -> None:
        """Decode one packet, or what the decoder still holds if it is empty."""
        if self.done or self._skips(packet):
            return
        pictured = bool(packet.size) and not packet.is_discard  # a card's decoder empties it
        try:
            for frame in self.card.decode(packet) if self.card else packet.decode():
                self._feed(frame)
            self.packets += pictured
        except av.FFmpegError as error:
            self.errors.append(line(error))
            self.until_key = self.stream.type == "video"

    def _feed(self, frame: Any) -> None:
        if self.done:
            return
        if frame.is_corrupt:
            # As a player would show it, so it is kept.
            self.errors.append(f"frame {self.frames} is patched")
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


def pump(clock: Clock, tracks: list[Track[Any]]) -> None:
    """Send every packet to its track; after a demuxing error, what the decoders still hold."""
    by_index = {track.stream.index: track for track in tracks if not track.done}
    if not by_index:
        return
    try:
        for packet in clock.packets():
            # Of the packets that end a stream, only ``stream`` says which one they end.
            if packet.stream.index in by_index:
                by_index[packet.stream.index].take(packet)
            if all(track.done for track in tracks):
                return
    except av.FFmpegError as error:
        for track in by_index.values():
            track.errors.append(line(error))
            flush = av.Packet()
            flush.stream = track.stream
            track.take(flush)


def finished(track: Track[Any] | Missing, facts: StreamFacts | None, *, strict: bool) -> Any:
    """What the sink made of a stream after its last packet, or why nothing came.

    ``facts`` is what is known of it by now; if ``strict``, a damaged one is refused.
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
    if strict and facts is not None and facts.damage:
        return Missing(reason=Reason.DECODE_ERROR, message=f"damaged: {facts.damage}")
    try:
        return track.sink.finish()
    except MemoryError as error:
        # FFmpeg's is one of its own errors as well, and would pass for a fault of the clip.
        raise MemoryError(line(error)) from error
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
