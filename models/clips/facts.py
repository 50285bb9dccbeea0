"""What a stream's header and its decoding tell of it, as records."""

import math
from dataclasses import replace
from typing import Any

from meldflow.models.clips.choice import clip_start, seconds_of, start_of
from meldflow.models.clips.keyframes import Pictures
from meldflow.models.clips.sound import Sound
from meldflow.models.clips.tracks import Track
from meldflow.models.schema.media import AudioFacts, Missing, VideoFacts

_NO_DECODER = "unknown"
_PROGRESSIVE = (0, 1)
"""AV_FIELD_UNKNOWN and AV_FIELD_PROGRESSIVE; every other order of fields is interlaced."""


def audio_facts(stream: Any, track: Track[Sound] | Missing | None = None) -> AudioFacts:
    """What is known of the best audio stream (None: there is none) and of its decoding."""
    if stream is None:
        return AudioFacts()
    context = stream.codec_context
    if context is None:
        return AudioFacts(codec=_NO_DECODER, **_place(stream))
    header = AudioFacts(
        codec=context.codec.canonical_name,
        layout=context.layout.name,
        channels=context.channels,
        rate=context.sample_rate or 0,
        **_place(stream),
    )
    if not isinstance(track, Track) or track.done:
        return header
    return replace(header, **_outcome(track), **track.sink.facts)


def video_facts(stream: Any, track: Track[Pictures] | Missing | None = None) -> VideoFacts:
    """What is known of the best video stream (None: there is none) and of its decoding."""
    if stream is None:
        return VideoFacts()
    context = stream.codec_context
    if context is None:
        return VideoFacts(codec=_NO_DECODER, frames_declared=stream.frames, **_place(stream))
    header = VideoFacts(
        codec=context.codec.canonical_name,
        width=context.width,
        height=context.height,
        pixel_format=context.pix_fmt or "",
        rate=float(stream.average_rate) if stream.average_rate else math.nan,
        interlaced=context.field_order not in _PROGRESSIVE,
        frames_declared=stream.frames,
        **_place(stream),
    )
    if not isinstance(track, Track) or track.done:
        return header
    pictures = track.sink
    return replace(
        header,
        **_outcome(track),
        seconds=pictures.seconds,
        rotation=90 * pictures.turns,
        mirrored=pictures.mirrored,
        interlaced=pictures.interlaced,
        frames_decoded=track.frames if pictures.all else max(track.frames, track.packets),
    )


def _place(stream: Any) -> dict[str, Any]:
    """Where the stream is in its file, when it starts and how long it lasts, by its header."""
    start, zero, seconds = start_of(stream), clip_start(stream.container), seconds_of(stream)
    return {
        "index": stream.index,
        "start": math.nan if start is None else start - (start if zero is None else zero),
        "declared_seconds": math.nan if seconds is None else seconds,
    }


def _outcome(track: Track[Sound] | Track[Pictures]) -> dict[str, Any]:
    """How decoding went."""
    known = {} if track.sink.start is None else {"start": track.sink.start}
    if track.clock.shift:
        known["declared_seconds"] = math.nan  # the header knows nothing of clocks that jump
    return known | {
        "encrypted": track.encrypted,
        "errors": len(track.errors),
        "error": track.errors[0] if track.errors else "",
    }
