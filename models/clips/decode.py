"""One pass over a clip: its sound and its best pictures, or the reason why there are none.

``decode`` never raises for a bad file. Each modality ends as data or as a
``Missing`` of its own, so that one broken stream never costs the other.
"""

import math
import os
import stat
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import av

from meldflow.models.clips.choice import best_audio, best_video, plausible
from meldflow.models.clips.container import Nameless, codec_options, open_container
from meldflow.models.clips.facts import audio_facts, video_facts
from meldflow.models.clips.keyframes import Pictures
from meldflow.models.clips.nvdec import kept
from meldflow.models.clips.options import CPU, NVDEC, DecodeOptions
from meldflow.models.clips.sound import Sound
from meldflow.models.clips.tracks import Clock, Track, finished, line, pump
from meldflow.models.schema.media import Decoded, Missing, Probe, Reason

T = TypeVar("T")


def decode(
    path: str | os.PathLike[str],
    options: DecodeOptions | None = None,
    *,
    audio: bool = True,
    video: bool = True,
) -> Decoded:
    """The sound and the chosen frames of the file at ``path``, read once, in bounded memory.

    The path is a local file and nothing else (``meldflow.models.clips.container``). The best
    streams are used, not the first (``meldflow.models.clips.choice``).

    The clip is what a player plays: it starts with the earlier of its two streams, from which all
    times of sound, pictures and facts count. So sound that starts before the pictures is kept, and
    sound that starts after them is led in by silence. Sound lies where its time stamps say: what is
    missing becomes silence, what stands in the way is taken out. Clocks that jump are followed. Of
    channels that cancel each other, the loudest is heard alone.

    What was decoded before a damaged part is kept, and the facts tell of the damage. Pictures are
    used again from the next key frame on, where nothing refers to the damage; lost sound becomes
    silence. With ``options.strict`` a damaged stream is a ``decode_error`` instead. A disk that
    fails makes the clip ``unreadable``, so that its bad moment does not pass for half a clip.

    A stream that its index says to be too long, or its header too large for a worker's memory, is
    refused before anything of it is decoded; so is one that turns out to be, as soon as it does.

    Args:
        path: the clip.
        options: how to decode; None means the defaults.
        audio: whether the sound is wanted; if not, it is ``no_audio``.
        video: whether the pictures are wanted; if not, they are ``no_video``.
    """
    options = options or DecodeOptions()

    def read(container: Any, file: Nameless, only: int = -1) -> Decoded:
        clock, pictures = Clock(container), video and only < 0
        ears, eyes = best_audio(container), best_video(container)
        heard = _unusable(ears, Reason.NO_AUDIO, wanted=audio) or Track(
            _limited(ears, options), Sound(options, ears, clock.zero, only), clock
        )
        on_card = pictures and options.decoder == NVDEC
        with kept(eyes if on_card else None, options) as card:
            seen = _unusable(eyes, Reason.NO_VIDEO, wanted=pictures) or Track(
                _limited(eyes, options), Pictures(options, eyes, clock.zero), clock, card
            )
            pump(clock, [one for one in (heard, seen) if isinstance(one, Track)])
        if file.failure is not None:
            raise file.failure
        loudest = heard.sink.end() if isinstance(heard, Track) else -1
        sound_facts = audio_facts(ears, heard) if audio else None
        picture_facts = video_facts(eyes, seen) if pictures else None
        result = Decoded(
            audio=finished(heard, sound_facts, strict=options.strict),
            video=finished(seen, picture_facts, strict=options.strict),
            audio_facts=sound_facts,
            video_facts=picture_facts,
        )
        if loudest < 0:
            return result
        with open_container(file, options.max_pixels) as again:
            alone = read(again, file, loudest)
        return replace(result, audio=alone.audio, audio_facts=alone.audio_facts)

    result = _opened(path, options, read)
    if isinstance(result, Missing):
        return Decoded(audio=result, video=result)
    if options.decoder == NVDEC and _doubtful(result):
        return decode(path, replace(options, decoder=CPU), audio=audio, video=video)
    return result


def probe(path: str | os.PathLike[str]) -> Probe | Missing:
    """What the headers of the file at ``path`` say; opened as ``decode`` opens it."""

    def read(container: Any, file: Nameless) -> Probe:
        return Probe(
            seconds=plausible((container.duration or 0) / av.time_base) or math.nan,
            container=container.format.name,
            streams=tuple(stream.type or "unknown" for stream in container.streams),
            audio=audio_facts(best_audio(container)),
            video=video_facts(best_video(container)),
        )

    return _opened(path, DecodeOptions(), read)


def _opened(
    path: str | os.PathLike[str], options: DecodeOptions, read: Callable[[Any, Nameless], T]
) -> T | Missing:
    """What ``read`` makes of the container at ``path``, or why it cannot be opened."""
    refused = _refuse(path)
    if refused is not None:
        return refused
    file: Nameless | None = None
    try:
        with Path(path).open("rb") as opened:
            file = Nameless(opened)
            with open_container(file, options.max_pixels) as container:
                # The streams' facts are gone once the container is closed.
                return read(container, file)
    except (av.FFmpegError, OSError) as error:
        cause = file.failure if file is not None and file.failure is not None else error
        return Missing(reason=Reason.UNREADABLE, message=line(cause))


def _doubtful(decoded: Decoded) -> bool:
    """Whether a card may have made other pictures of a stream than a CPU would."""
    video, facts = decoded.video, decoded.video_facts
    refused = isinstance(video, Missing) and video.reason == Reason.DECODE_ERROR
    return refused or (facts is not None and facts.damage != "")


def _refuse(path: str | os.PathLike[str]) -> Missing | None:
    """Why the path cannot be opened as a file, if so."""
    try:
        mode = os.stat(path).st_mode if os.fspath(path) else None  # noqa: PTH116
    except (FileNotFoundError, NotADirectoryError, ValueError):
        mode = None  # ValueError: the name holds a null byte, so no file can have it
    except OSError as error:
        return Missing(reason=Reason.UNREADABLE, message=line(error))
    if mode is None:
        return Missing(reason=Reason.MISSING_FILE, message=f"no file at {os.fspath(path)!r}")
    if not stat.S_ISREG(mode):
        return Missing(reason=Reason.UNREADABLE, message="not a regular file")
    return None


def _unusable(stream: Any, absent: Reason, *, wanted: bool) -> Missing | None:
    """Why nothing of the stream is to be decoded, if so."""
    if not wanted:
        return Missing(reason=absent, message="not asked for")
    if stream is None:
        return Missing(reason=absent, message="the file has no such stream")
    if stream.codec_context is None:
        return Missing(reason=Reason.DECODE_ERROR, message=f"no decoder for the {stream.type}")
    return None


def _limited(stream: Any, options: DecodeOptions) -> Any:
    """The stream with what its decoder may use."""
    context = stream.codec_context
    # Workers x threads = cores, so the decoder itself gets one thread.
    context.thread_count = 1
    if stream.type == "video":
        context.options = codec_options(options.max_pixels)
        context.skip_frame = options.skipped
    return stream
