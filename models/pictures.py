"""The frames of one stream with the most in them: scored, chosen, upright, scaled.

Used by ``models.decode`` only.
"""

from __future__ import annotations

import functools
import heapq
import math
from typing import Any

import numpy as np
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray
from PIL import Image

from models.options import DecodeOptions
from models.schema import Missing, Reason, Video

_MAX_ASPECT = 16.0
"""Long side over short side beyond which scaling the short side would blow up the long one."""
_UNSPECIFIED = 2
"""AVCOL_SPC_UNSPECIFIED: the stream does not say which YUV it holds."""
_SD_HEIGHT = 576


class Pictures:
    """Keeps the frames of highest luma entropy of a video stream, ties to the earlier one."""

    def __init__(self, options: DecodeOptions, stream: Any) -> None:
        """Prepare for one ``av`` video stream (None where there is none)."""
        self.refusal: Missing | None = None
        self._options = options
        self._stream = stream
        self._best: list[tuple[float, int, float, Any]] = []
        self._first: float | None = None
        self._count = 0

    def feed(self, frame: Any) -> None:
        """Score one ``av.VideoFrame``."""
        self.refusal = self._refuse(frame)
        if self.refusal is not None:
            self._best.clear()
            return
        entry = (entropy(luma(frame)), -self._count, self._time(frame), frame)
        self._count += 1
        keep = heapq.heappush if len(self._best) < self._options.frames else heapq.heappushpop
        keep(self._best, entry)

    def finish(self) -> Video | Missing:
        """The chosen frames in time order."""
        chosen = sorted(self._best, key=lambda entry: -entry[1])
        self._best.clear()
        size: tuple[int, int] | None = None
        pictures = []
        for _, _, _, frame in chosen:
            upright, aspect = self._upright(frame)
            # A stream may change its size half way; all frames take the size of the first.
            size = size or scaled_size(upright.shape[1] * aspect, upright.shape[0], self._short)
            image = Image.fromarray(upright).resize(size, Image.Resampling.BILINEAR)
            pictures.append(np.asarray(image))
        return Video(
            frames=np.stack(pictures),
            index=np.array([-order for _, order, _, _ in chosen], np.int32),
            timestamp=np.array([seconds for _, _, seconds, _ in chosen], np.float32),
            entropy=np.array([score for score, _, _, _ in chosen], np.float32),
            n_frames=self._count,
        )

    @property
    def _short(self) -> int:
        return self._options.short_side

    def _refuse(self, frame: Any) -> Missing | None:
        size = f"pictures of {frame.width}x{frame.height} pixels"
        if frame.width * frame.height > self._options.max_pixels:
            message = f"{size}, more than {self._options.max_pixels}"
            return Missing(reason=Reason.DECODE_ERROR, message=message)
        if max(frame.width, frame.height) > _MAX_ASPECT * min(frame.width, frame.height):
            return Missing(reason=Reason.DECODE_ERROR, message=f"{size} are no pictures")
        if self._time(frame) > self._options.max_seconds:
            message = f"pictures run past {self._options.max_seconds:g} s"
            return Missing(reason=Reason.TOO_LONG, message=message)
        return None

    def _time(self, frame: Any) -> float:
        """Seconds from the first frame; by the frame rate where the container says nothing."""
        if frame.time is None:
            rate = self._stream.average_rate
            return self._count / float(rate) if rate else 0.0
        if self._first is None:
            self._first = float(frame.time)
        return float(frame.time) - self._first

    def _upright(self, frame: Any) -> tuple[NDArray[np.uint8], float]:
        """The frame as people see it, shape (height, width, 3), and its pixels' aspect."""
        turns = round(frame.rotation / 90) % 4
        aspect = float(self._stream.sample_aspect_ratio or 1)
        pixels = np.ascontiguousarray(np.rot90(rgb(frame), turns))
        return pixels, 1 / aspect if turns % 2 else aspect


def luma(frame: Any) -> NDArray[np.uint8]:
    """The luma of a frame, 8 bits, shape (height, width).

    The Y plane itself where the frame has one of 8 bits (without the padding at the end of
    its lines); otherwise converted to gray.
    """
    layout = frame.format
    plain = layout.is_planar and not layout.is_rgb and layout.components[0].bits == 8
    plane = frame.planes[0]
    if not (plain and plane.line_size >= frame.width):
        frame = frame.reformat(format="gray", threads=1)
        plane = frame.planes[0]
    lines = np.frombuffer(plane, np.uint8, plane.line_size * frame.height)
    return lines.reshape(frame.height, plane.line_size)[:, : frame.width]


def entropy(gray: NDArray[np.uint8]) -> float:
    """Shannon entropy of the 256-bin histogram of ``gray``, bits (0 to 8)."""
    counts = _opencv().calcHist([gray], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    shares = counts[counts > 0] / gray.size
    return abs(float((shares * np.log2(shares)).sum()))


@functools.cache
def _opencv() -> Any:
    """OpenCV, imported where it is needed (0.7 s) and kept to the calling thread."""
    import cv2

    cv2.setNumThreads(1)
    return cv2


def rgb(frame: Any) -> NDArray[np.uint8]:
    """The frame in RGB, shape (height, width, 3).

    By the matrix that the stream names; where it names none, BT.601 up to 576 lines and
    BT.709 above, as players do.
    """
    matrix = None
    if frame.colorspace == _UNSPECIFIED and not frame.format.is_rgb:
        matrix = Colorspace.ITU709 if frame.height > _SD_HEIGHT else Colorspace.ITU601
    method = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
    converted = frame.reformat(
        format="rgb24", src_colorspace=matrix, interpolation=method, threads=1
    )
    pixels: NDArray[np.uint8] = converted.to_ndarray()
    return pixels


def scaled_size(width: float, height: float, short: int) -> tuple[int, int]:
    """(width, height) with the shorter side ``short``; the other one rounded down."""
    if width <= height:
        return short, math.floor(short * height / width)
    return math.floor(short * width / height), short
