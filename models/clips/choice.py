"""Which streams of a container are its picture and its sound, and what their headers say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import av
from av.stream import Disposition

from meldflow.models.schema.media import Missing, Reason

_NOT_SPEECH = (
    Disposition.comment
    | Disposition.visual_impaired
    | Disposition.descriptions
    | Disposition.karaoke
    | Disposition.non_diegetic
)
_NOT_MOVING = Disposition.attached_pic | Disposition.timed_thumbnails
_GUESSED = frozenset({"aac", "ac3", "amr", "dts", "eac3", "mp3", "truehd"})
"""Bare streams without a header: their length is a guess of FFmpeg's, from the bit rate of the
first packets, and may be ten times too long."""
_CLOCK = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


def best_video(container: Any) -> Any:
    """The stream of largest area, then the default one, then the longest; never cover art.

    The first of equals; None where there is no such stream.
    """

    def worth(stream: Any) -> tuple[float, ...]:
        context = stream.codec_context
        default = bool(stream.disposition & Disposition.default)
        return (context.width * context.height, default, seconds_of(stream) or 0.0)

    return _best(container.streams.video, _NOT_MOVING, worth, spare=False)


def best_audio(container: Any) -> Any:
    """Not a commentary or description, then the default one, most channels, highest rate, longest.

    The first of equals; None where there is no such stream.
    """

    def worth(stream: Any) -> tuple[float, ...]:
        context = stream.codec_context
        default = bool(stream.disposition & Disposition.default)
        return (default, context.channels, context.sample_rate or 0, seconds_of(stream) or 0.0)

    return _best(container.streams.audio, _NOT_SPEECH, worth, spare=True)


def _best(
    streams: Iterable[Any],
    unwanted: Disposition,
    worth: Callable[[Any], tuple[float, ...]],
    *,
    spare: bool,
) -> Any:
    """The stream worth most (the first of equals), or None; unwanted ones if ``spare``.

    One without a decoder is chosen only where no other is left, so that it can be reported.
    """
    present = list(streams)
    pool = [one for one in present if not one.disposition & unwanted] or present * spare
    decodable = [one for one in pool if one.codec_context is not None]
    return max(decodable, key=worth, default=pool[0] if pool else None)


def start_of(stream: Any) -> float | None:
    """When the stream starts on the container's clock, seconds; None if that is unknown."""
    if stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base)


def seconds_of(stream: Any) -> float | None:
    """How long the stream is by the header; None where it does not say."""
    if stream.container.format.name in _GUESSED:
        return None
    if stream.duration and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    return _tagged_seconds(stream)


def _tagged_seconds(stream: Any) -> float | None:
    """Of Matroska, which declares the whole file's only: by the tag that muxers add.

    FFmpeg's gives the end of the stream there, mkvmerge its length; the shorter reading is taken,
    so that a stream that starts late is not taken for one that ends early.
    """
    clock = _CLOCK.fullmatch(stream.metadata.get("DURATION", ""))
    if clock is None:
        return None
    hours, minutes, seconds = (float(part) for part in clock.groups())
    end = (hours * 60 + minutes) * 60 + seconds
    return max(0.0, end - max(0.0, start_of(stream) or 0.0))


def too_long(stream: Any, limit: float) -> Missing | None:
    """Why the stream is refused by its header alone, or else by its file's."""
    seconds = seconds_of(stream)
    if seconds is None and stream.container.format.name not in _GUESSED:
        seconds = (stream.container.duration or 0) / av.time_base
    if seconds is None or seconds <= limit:
        return None
    message = f"declared to last {seconds:.6g} s, more than {limit:g} s"
    return Missing(reason=Reason.TOO_LONG, message=message)
