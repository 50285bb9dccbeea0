"""Which streams of a container are its picture and its sound, and what their headers say."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import av
from av.stream import Disposition

from meldflow.models.clips.container import TELLING
from meldflow.models.schema.media import BELIEVED_SECONDS, Missing, Reason

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

    def worth(context: Any, default: bool) -> tuple[float, ...]:
        return (context.width * context.height, default)

    return _best(container.streams.video, _NOT_MOVING, worth, spare=False)


def best_audio(container: Any) -> Any:
    """Not a commentary or description, then the default one, most channels, highest rate, longest.

    The first of equals; None where there is no such stream.
    """

    def worth(context: Any, default: bool) -> tuple[float, ...]:
        return (default, context.channels, context.sample_rate or 0)

    return _best(container.streams.audio, _NOT_SPEECH, worth, spare=True)


def _best(
    streams: Iterable[Any],
    unwanted: Disposition,
    worth: Callable[[Any, bool], tuple[float, ...]],
    *,
    spare: bool,
) -> Any:
    """The stream worth most, of equals the longest, the first; or None. Unwanted if ``spare``.

    One without a decoder is chosen only where no other is left, so that it can be reported.
    """
    present = list(streams)
    pool = [one for one in present if not one.disposition & unwanted] or present * spare

    def key(stream: Any) -> tuple[float, ...]:
        default = bool(stream.disposition & Disposition.default)
        return (*worth(stream.codec_context, default), seconds_of(stream) or 0.0)

    decodable = [one for one in pool if one.codec_context is not None]
    return max(decodable, key=key, default=pool[0] if pool else None)


def start_of(stream: Any) -> float | None:
    """When the stream starts on the container's clock, seconds; None if that is unknown."""
    if stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base)


def clip_start(container: Any) -> float | None:
    """The clip's start on the container's clock, seconds: that of the earlier of its streams.

    By both headers, whichever stream is decoded, so that a clip always has the same zero. None, for
    where its first frame is, if there is one stream or no header says.
    """
    both = (best_audio(container), best_video(container))
    known = [start for start in map(start_of, filter(None, both)) if start is not None]
    return min(known) if known and None not in both else None


def seconds_of(stream: Any) -> float | None:
    """How long the stream is by the header; None where it does not say, or nonsense."""
    if stream.container.format.name in _GUESSED:
        return None
    if stream.duration and stream.time_base is not None:
        return plausible(float(stream.duration * stream.time_base))
    return _tagged_seconds(stream)


def plausible(seconds: float) -> float | None:
    """A declared length, if it can be one."""
    return seconds if 0 < seconds <= BELIEVED_SECONDS else None


def _tagged_seconds(stream: Any) -> float | None:
    """Of Matroska, which declares the whole file's only: by the tag that muxers add.

    FFmpeg's gives the end of the stream there, mkvmerge its length; the shorter reading is taken,
    so that a stream that starts late is not taken for one that ends early. A tag of more than the
    file's own length was left by an editor that cut it.
    """
    clock = _CLOCK.fullmatch(stream.metadata.get("DURATION", ""))
    if clock is None:
        return None
    hours, minutes, seconds = (float(part) for part in clock.groups())
    end = (hours * 60 + minutes) * 60 + seconds
    stale = end > (stream.container.duration or math.inf) / av.time_base + 0.1
    return None if stale else plausible(end - max(0.0, start_of(stream) or 0.0))


def too_long(stream: Any, limit: float) -> Missing | None:
    """Why the stream is refused before it is decoded: its index has a packet past the limit.

    A declared length alone may be a guess or another file's; and so may an index past the file's
    end.
    """
    entries, container = stream.index_entries, stream.container
    if container.format.name not in TELLING or not len(entries):
        return None
    last = entries[-1]
    if last.pos >= container.size:
        return None
    seconds = float(last.timestamp * stream.time_base) - (start_of(stream) or 0.0)
    message = f"runs past {limit:g} s, up to {seconds:.6g} s by its index"
    return Missing(reason=Reason.TOO_LONG, message=message) if seconds > limit else None
