"""Which streams of a container are its picture and its sound.

Used by ``models.decode`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from av.stream import Disposition

_NOT_SPEECH = (
    Disposition.comment
    | Disposition.visual_impaired
    | Disposition.descriptions
    | Disposition.karaoke
    | Disposition.non_diegetic
)
_NOT_MOVING = Disposition.attached_pic | Disposition.timed_thumbnails


def best_video(container: Any) -> Any:
    """The stream of largest area, then the default one, then the longest; never cover art.

    The first of equals; None where there is no such stream.
    """

    def worth(stream: Any) -> tuple[float, ...]:
        context = stream.codec_context
        default = bool(stream.disposition & Disposition.default)
        return (context.width * context.height, default, _seconds(stream))

    return _best(container.streams.video, _NOT_MOVING, worth, spare=False)


def best_audio(container: Any) -> Any:
    """Not a commentary or description, then the default one, most channels, highest rate, longest.

    The first of equals; None where there is no such stream.
    """

    def worth(stream: Any) -> tuple[float, ...]:
        context = stream.codec_context
        default = bool(stream.disposition & Disposition.default)
        return (default, context.channels, context.sample_rate or 0, _seconds(stream))

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


def _seconds(stream: Any) -> float:
    return float(stream.duration * stream.time_base) if stream.duration else 0.0


def start_of(stream: Any) -> float | None:
    """When the stream starts on the container's clock, seconds; None if that is unknown."""
    if stream.start_time is None or stream.time_base is None:
        return None
    return float(stream.start_time * stream.time_base)
