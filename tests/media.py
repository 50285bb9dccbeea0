"""Small clips, written by PyAV for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.context import Flags
from av.filter import Graph
from av.video.reformatter import ColorRange, Colorspace
from numpy.typing import NDArray

MATRICES = {"bt601": (5, Colorspace.ITU601), "bt709": (1, Colorspace.ITU709)}
"""Name → AVColorSpace, and what converts by it."""


@dataclass(frozen=True, kw_only=True)
class Film:
    """A video stream: RGB frames of shape (n, height, width, 3)."""

    frames: NDArray[np.uint8]
    rate: int = 25
    times: Sequence[int] | None = None
    """When each frame is shown, milliseconds; by ``rate`` if None."""
    codec: str = "libx264"
    pixels: str = "yuv420p"
    matrix: str | None = None
    """``bt601`` or ``bt709``, which the stream then names."""
    full_range: bool = False
    fields: str = ""
    """``tff`` or ``bff``: even and odd lines are two fields, the even or the odd ones first."""
    aspect: Fraction = Fraction(1)
    rotation: int = 0
    """Counter-clockwise degrees that a player applies."""
    flips: tuple[bool, bool] = (False, False)
    """Whether it swaps left and right, top and bottom after that."""
    start: float = 0.0
    cover: bool = False


@dataclass(frozen=True, kw_only=True)
class Track:
    """An audio stream: float samples of shape (n_channels, n_samples)."""

    samples: NDArray[np.float32]
    rate: int = 48000
    layout: str = "mono"
    codec: str = "aac"
    start: float = 0.0
    comment: bool = False


def write(path: Path, streams: Sequence[Film | Track], **options: str) -> Path:
    """Write the streams, in the order given, and return ``path``."""
    with av.open(str(path), "w", options=options) as container:
        opened = [(_open(container, one), one) for one in streams]
        for stream, one in opened:
            frames = _film(one, stream) if isinstance(one, Film) else _track(one, stream)
            for frame in frames:
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    return path


def tone(hertz: float, seconds: float, rate: int = 48000) -> NDArray[np.float32]:
    """A sine of amplitude 0.5, shape (n_samples,)."""
    time = np.arange(round(seconds * rate)) / rate
    return (0.5 * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


def noise(
    n: int, height: int = 48, width: int = 64, seed: int = 0, levels: Sequence[int] | None = None
) -> NDArray[np.uint8]:
    """Frames of gray noise; the i-th uses ``levels[i]`` gray values, so more is more entropy."""
    rng = np.random.default_rng(seed)
    levels = levels if levels is not None else [200] * n
    gray = np.stack([rng.integers(0, level, (height, width)) + 20 for level in levels])
    return np.repeat(gray[..., None], 3, axis=3).astype(np.uint8)


def _open(container: Any, one: Film | Track) -> Any:
    if isinstance(one, Track):
        stream = container.add_stream(one.codec, rate=one.rate, layout=one.layout)
        if one.comment:
            stream.disposition = av.stream.Disposition.comment
        return stream
    stream = container.add_stream(one.codec, rate=one.rate)
    stream.height, stream.width = one.frames.shape[1:3]
    stream.pix_fmt = one.pixels
    context = stream.codec_context
    context.sample_aspect_ratio = one.aspect
    if one.codec == "libx264":
        stream.options = {"crf": "12", "preset": "ultrafast"}
    if one.matrix:
        context.colorspace = MATRICES[one.matrix][0]
        context.color_range = ColorRange.JPEG if one.full_range else ColorRange.MPEG
    if one.fields:
        context.flags |= Flags.interlaced_dct | Flags.interlaced_me
    if one.times:
        context.time_base = Fraction(1, 1000)
    if one.cover:
        stream.disposition = av.stream.Disposition.attached_pic
    if one.rotation or any(one.flips):
        stream.set_display_rotation(one.rotation, *one.flips)
    return stream


def _film(one: Film, stream: Any) -> Any:
    for number, pixels in enumerate(one.frames):
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        if one.matrix:
            frame = frame.reformat(
                format=one.pixels,
                dst_colorspace=MATRICES[one.matrix][1],
                dst_color_range=ColorRange.JPEG if one.full_range else ColorRange.MPEG,
            )
        if one.fields:
            frame = _marked(frame.reformat(format=one.pixels), one.fields)
        frame.pts = one.times[number] if one.times else number + round(one.start * one.rate)
        frame.time_base = Fraction(1, 1000 if one.times else one.rate)
        yield frame


def _marked(frame: av.VideoFrame, fields: str) -> av.VideoFrame:
    """The frame, interlaced: PyAV itself has no way to say so."""
    graph = Graph()
    graph.link_nodes(
        graph.add_buffer(
            width=frame.width,
            height=frame.height,
            format=frame.format,
            time_base=Fraction(1, 25),
        ),
        graph.add("setfield", fields),
        graph.add("buffersink"),
    ).configure()
    graph.push(frame)
    pulled = graph.pull()
    assert isinstance(pulled, av.VideoFrame)
    return pulled


def _track(one: Track, stream: Any) -> Any:
    step = stream.codec_context.frame_size or 1024
    for begin in range(0, one.samples.shape[1], step):
        # Packed, because PyAV writes past the end of eight and more planes.
        part = np.ascontiguousarray(one.samples[:, begin : begin + step].T).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(part, format="flt", layout=one.layout)
        frame.sample_rate = one.rate
        frame.pts = begin + round(one.start * one.rate)
        frame.time_base = Fraction(1, one.rate)
        yield frame
