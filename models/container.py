"""A clip's container, opened so that nothing but the clip itself is ever read.

A path is a local file and nothing else: it is opened by us and handed to FFmpeg as bytes
without a name, and FFmpeg may open nothing further, so no name and no playlist leads it to
another file or address.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, BinaryIO

import av


class Nameless:
    """A file without its name, which FFmpeg would take as a hint on format and protocol.

    It remembers a failing disk, which FFmpeg would take for the end of the file.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self.failure: OSError | None = None
        self._file = file

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes; none at the end, and none after an error."""
        try:
            return self._file.read(size)
        except OSError as error:
            self.failure = error
            return b""


def open_container(file: Nameless) -> Any:
    """The container in ``file``, for reading.

    Raises:
        av.FFmpegError: the bytes are none that FFmpeg knows, or are damaged.
    """
    return av.open(
        file,
        mode="r",
        metadata_errors="replace",
        buffer_size=1 << 18,
        io_open=_nothing_further,
        container_options={"protocol_whitelist": "none"},
    )


def _nothing_further(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError(f"the clip refers to {url!r}")


def declared_seconds(path: Path) -> float:
    """Duration by the container's header, seconds; NaN where it declares none."""
    try:
        with path.open("rb") as file, open_container(Nameless(file)) as container:
            ticks = container.duration
    except (OSError, av.FFmpegError):
        return math.nan
    return ticks / av.time_base if ticks and ticks > 0 else math.nan
