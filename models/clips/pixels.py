"""The pixels of one decoded frame: its luma to be scored, its colours to be kept.

Frames are ``av.VideoFrame``.
"""

import math
import re
from typing import Any

import cv2
import numpy as np
from av.filter import Graph
from av.video.reformatter import Colorspace, Interpolation
from numpy.typing import NDArray

_DEEP = re.compile(r"(?:yuva?4\d\dp|gray)(9|1\d)le")
"""Formats whose first plane is luma of 9 to 16 bits, in the low bits of two bytes."""


def luma(frame: Any) -> NDArray[np.uint8]:
    """The luma of a frame as coded, 8 bits, shape (height, width).

    The Y plane itself where the frame has one (without the padding at the end of its lines), of
    a deeper one the upper eight bits. Limited range stays limited: frames compete within their
    clip, and all of a clip have one range. Anything else is converted to gray.
    """
    layout, plane = frame.format, frame.planes[0]
    deep = _DEEP.fullmatch(layout.name)
    if deep:
        return (_plane(frame, "<u2") >> (int(deep[1]) - 8)).astype(np.uint8)
    plain = layout.is_planar and not layout.is_rgb and layout.components[0].bits == 8
    if not (plain and plane.line_size >= frame.width):
        # Packed YUV keeps its range as YUV, which gray would not.
        coloured = len(layout.components) > 2 and not (layout.is_rgb or layout.has_palette)
        nearest = "yuv422p" if coloured and not layout.is_planar else "gray"
        frame = frame.reformat(format=nearest, threads=1)
    return _plane(frame, "u1")


def _plane(frame: Any, dtype: str) -> NDArray[Any]:
    """The first plane, shape (height, width)."""
    plane = frame.planes[0]
    width = plane.line_size // np.dtype(dtype).itemsize
    lines = np.frombuffer(plane, dtype, width * frame.height)
    return lines.reshape(frame.height, width)[:, : frame.width]


def entropy(gray: NDArray[np.uint8]) -> float:
    """Shannon entropy of the 256-bin histogram of ``gray``, bits (0 to 8).

    OpenCV counts 720p in 0.3 ms. Code of our own, compiled by Numba, took 0.2 ms, and 2.9 s of CPU
    to begin with in every process that decodes.
    """
    counts = cv2.calcHist([gray], [0], None, [256], [0, 256]).ravel().astype(np.float64)
    shares = counts[counts > 0] / gray.size
    return abs(float((shares * np.log2(shares)).sum()))


_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
"""AVColorSpace → the matrix between YUV and RGB, as far as FFmpeg's scaler has it."""
_SD_HEIGHT = 576


_METHOD = (
    Interpolation.BILINEAR
    | Interpolation.FULL_CHR_H_INT
    | Interpolation.ACCURATE_RND
    | Interpolation.BITEXACT
)
"""FFmpeg's scaler with a triangle over all pixels of the source (as Pillow's bilinear filter, not
two by two), colours in full width, and the same rounding on every processor."""


def rgb(frame: Any, width: int, height: int) -> NDArray[np.uint8]:
    """The frame in RGB, scaled, shape (height, width, 3), without the comb of its two fields.

    Scaled and converted at once: what is thrown away is not converted. By the range and the matrix
    that the stream names; where it names none (or one that is not known here), BT.601 up to 576
    lines and BT.709 above, as players do. High dynamic range is not mapped to a screen's.
    """
    matrix = None
    if not frame.format.is_rgb:
        usual = Colorspace.ITU709 if frame.height > _SD_HEIGHT else Colorspace.ITU601
        matrix = _MATRICES.get(frame.colorspace, usual)
    if frame.interlaced_frame:
        frame = _deinterlaced(frame)
    scaled = frame.reformat(
        width=width,
        height=height,
        format="rgb24",
        src_colorspace=matrix,
        interpolation=_METHOD,
        threads=1,
    )
    pixels: NDArray[np.uint8] = scaled.to_ndarray()
    return pixels


def _deinterlaced(frame: Any) -> Any:
    """The earlier field, with the other's lines drawn from it along edges (FFmpeg's estdif).

    Before colours are converted, because every plane, chroma too, has its own two fields.
    """
    graph = Graph()
    graph.threads = 1
    size = {"width": frame.width, "height": frame.height, "format": frame.format}
    graph.link_nodes(
        graph.add_buffer(**size, time_base=frame.time_base),
        graph.add("estdif", mode="frame"),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    graph.push(None)
    return graph.pull()


def orientation(frame: Any) -> tuple[bool, int]:
    """How a player shows the frame: whether it is mirrored left to right, and then turned.

    Returns:
        Whether it is mirrored, and counter-clockwise quarter turns, 0 to 3: what its display
        matrix says. Oblique angles become the nearest quarter.
    """
    data = frame.side_data.get("DISPLAYMATRIX")
    if data is None:
        return False, 0
    # The x axis is shown along (a, b), the y axis along (c, d); y points down.
    a, b, _, c, d = (int(value) for value in np.frombuffer(data, np.int32)[:5])
    mirrored = a * d - b * c < 0
    if mirrored:
        a, b = -a, -b
    return mirrored, round(math.atan2(-b, a) / (math.pi / 2)) % 4


def upright(pixels: NDArray[np.uint8], mirrored: bool, turns: int) -> NDArray[np.uint8]:
    """The pixels as ``orientation`` says, shape (height, width, 3), contiguous."""
    return np.ascontiguousarray(np.rot90(pixels[:, ::-1] if mirrored else pixels, turns))
