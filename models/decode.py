"""One pass over a clip: its sound and its best pictures, or the reason why there are none.

``decode`` never raises for a bad file. Each modality ends as data or as a
``Missing`` of its own, so that one broken stream never costs the other.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import av

from models.container import Nameless, open_container
from models.options import DecodeOptions
from models.pictures import Pictures
from models.schema import Audio, Missing, Reason, Video
from models.sound import Sound
from models.streams import best_audio, best_video, start_of
from models.tracks import Sink, Track, finished, line, pump


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

    What was decoded before a damaged part is kept. Pictures are used again from the next key
    frame on, where nothing refers to the damage; lost sound becomes silence. A disk that fails
    makes the clip ``unreadable``, so that its bad moment does not pass for half a clip.

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
    file: Nameless | None = None
    try:
        with Path(path).open("rb") as opened:
            file = Nameless(opened)
            with open_container(file) as container:
                heard, seen = _tracks(container, options, audio=audio, video=video)
                pump(container, [one for one in (heard, seen) if isinstance(one, Track)])
                if file.failure is not None:
                    raise file.failure
                # The streams' facts are gone once the container is closed.
                return finished(heard, path), finished(seen, path)
    except (av.FFmpegError, OSError) as error:
        cause = file.failure if file is not None and file.failure is not None else error
        missing = Missing(reason=Reason.UNREADABLE, message=line(cause))
        return missing, missing


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


def _tracks(
    container: Any, options: DecodeOptions, *, audio: bool, video: bool
) -> tuple[Track | Missing, Track | Missing]:
    picture, sound = best_video(container), best_audio(container)
    # The sound's lead is measured against the video stream whether or not that is wanted
    # now, so that the same clip always gives the same samples.
    start = None if picture is None else start_of(picture)
    return (
        _track(sound, Sound(options, start), Reason.NO_AUDIO, wanted=audio),
        _track(picture, Pictures(options, picture), Reason.NO_VIDEO, wanted=video),
    )


def _track(stream: Any, sink: Sink, absent: Reason, *, wanted: bool) -> Track | Missing:
    if not wanted:
        return Missing(reason=absent, message="not asked for")
    if stream is None:
        return Missing(reason=absent, message="the file has no such stream")
    if stream.codec_context is None:
        return Missing(reason=Reason.DECODE_ERROR, message=f"no decoder for the {stream.type}")
    # Workers x threads = cores, so the decoder itself gets one thread.
    stream.codec_context.thread_count = 1
    return Track(stream, sink)
