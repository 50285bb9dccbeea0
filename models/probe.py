"""What a clip's container declares, without decoding it."""

from __future__ import annotations

import math
from pathlib import Path

import av


def declared_seconds(path: Path) -> float:
    """Duration by the container's header, seconds; NaN where it declares none.

    The file is opened by us and handed over as bytes, so that no name is ever taken for an
    address or a playlist.
    """
    try:
        with path.open("rb") as file, av.open(file, mode="r") as container:
            ticks = container.duration
    except (OSError, av.FFmpegError, ValueError):
        return math.nan
    return ticks / av.time_base if ticks and ticks > 0 else math.nan
