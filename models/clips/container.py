"""A clip's container, opened so that nothing but the clip itself is ever read.

A path is a local file and nothing else: it is opened by us and handed to FFmpeg as bytes
without a name, and FFmpeg may open nothing further, so no name and no playlist leads it to
another file or address.
"""

import math
from typing import Any, BinaryIO

import av

from meldflow.models.clips.options import MAX_ASPECT

TELLING = {"mov,mp4,m4a,3gp,3g2,mj2"}
"""Formats, as FFmpeg names them, whose header has every stream's size, start, rate and index."""


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


def open_container(file: Nameless, max_pixels: int) -> Any:
    """The container in ``file``, for reading.

    FFmpeg decodes a few pictures while it looks at the streams, unless it is told to skip them:
    nine tenths of the time. Where the header tells all, they are skipped. It allocates nothing for
    a picture of more than ``max_pixels``.

    Raises:
        av.FFmpegError: the bytes are none that FFmpeg knows, or are damaged.
    """
    container = _opened(file, {**codec_options(max_pixels), "skip_frame": "all"})
    if container.format.name in TELLING:
        return container
    container.close()
    return _opened(file, codec_options(max_pixels))


def _opened(file: Nameless, options: dict[str, str]) -> Any:
    file.seek(0)
    return av.open(
        file,
        mode="r",
        metadata_errors="replace",
        buffer_size=1 << 18,
        io_open=_nothing_further,
        options=options,
        container_options={"protocol_whitelist": "none"},
    )


def codec_options(max_pixels: int) -> dict[str, str]:
    """FFmpeg's own limit on the size of a picture, which it checks before it allocates one.

    FFmpeg counts pixels as coded, with up to 63 lines and columns more than are shown. Its limit
    lets every picture of ``max_pixels`` pass that is not too long for its height; the exact
    check is ours, on what is shown.
    """
    # (w + 64)(h + 64) = (n^½ + m)² for w·h = n and w = MAX_ASPECT · h, the worst case
    margin = 32 * (MAX_ASPECT**0.5 + MAX_ASPECT**-0.5)
    return {"max_pixels": str(math.ceil((max_pixels**0.5 + margin) ** 2))}


def _nothing_further(url: str, flags: int, options: dict[str, str]) -> Any:
    raise PermissionError(f"the clip refers to {url!r}")
