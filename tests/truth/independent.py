"""What is in a clip, by FFmpeg's command line, PyAV, SciPy and librosa; nothing of meldflow."""

from __future__ import annotations

import io
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import imageio_ffmpeg
import librosa
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import entropy

RATE = 16_000
"""Of sound, Hz."""
_PLANAR_8_BIT = frozenset(
    {"yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p", "nv12", "gray"}
)
"""Pixel formats whose first plane is 8-bit luma."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """A video stream, in the order of its frames."""

    times: NDArray[np.float64]
    """When each frame is shown, seconds from the start of the clip, shape (n_frames,)."""
    bits: NDArray[np.float64] | None
    """Entropy of each frame's luma, shape (n_frames,); None where luma is no plane of bytes."""
    size: tuple[int, int]
    """(width, height) of what a player shows, pixels square, the shorter side 256."""


def sound(path: Path) -> NDArray[np.float32] | None:
    """Mono sound from the start of the clip, gaps filled, as FFmpeg's command line makes it.

    None where there is none.
    """
    with av.open(str(path)) as container:
        stream = _loudest(container.streams.audio)
    if stream is None:
        return None
    resampled = f"aresample={RATE}:async=1:min_hard_comp=0.1:first_pts=0:rematrix_maxval=1"
    command = ("-map", f"0:{stream}", "-af", resampled, "-ac", "1", "-f", "f32le", "-")
    samples = np.frombuffer(_ffmpeg(path, *command), np.float32)
    return samples if samples.size else None


def pictures(path: Path) -> Pictures | None:
    """Every frame of the largest video stream; None where there is none."""
    with av.open(str(path)) as container:
        stream = _largest(container)
        if stream is None:
            return None
        # The command line's zero, which sound() has as well.
        zero = (container.start_time or 0) / av.time_base
        times, bits = [], []
        for frame in _frames(container, stream):
            times.append(float(frame.time) - zero if frame.time is not None else np.nan)
            bits.append(_bits(frame))
    if not times:
        return None
    known = not any(one is None for one in bits)
    return Pictures(
        times=np.array(times),
        bits=np.array(bits, np.float64) if known else None,
        size=_shown(path, stream),
    )


def shown(path: Path, indices: Sequence[int], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Those frames as a player shows them, in that width and height: RGB, (n, height, width, 3)."""
    with av.open(str(path)) as container:
        stream = _largest(container)
    width, height = size
    chosen = "+".join(f"eq(n\\,{index})" for index in indices)
    filters = f"select='{chosen}',scale={width}:{height}:flags=bilinear,setsar=1"
    command = ("-map", f"0:{stream}", "-vf", filters, "-fps_mode", "passthrough")
    raw = _ffmpeg(path, *command, "-f", "rawvideo", "-pix_fmt", "rgb24", "-")
    return np.frombuffer(raw, np.uint8).reshape(-1, height, width, 3)


def descriptors(samples: NDArray[np.float32]) -> dict[str, NDArray[np.float64]]:
    """MFCC, centroid, zero crossings, rms and the log-mel spectrum by librosa, a frame at a time.

    Frames of 400 samples every 320, each without its mean, in the middle of a window of 512; shape
    (n_frames, …) each.
    """
    found: dict[str, list[Any]] = {name: [] for name in ("mfcc", "centroid", "zcr", "rms", "mel")}
    grid: dict[str, Any] = {"frame_length": 400, "hop_length": 320, "center": False}
    for begin in range(0, samples.size - 399, 320):
        frame = samples[begin : begin + 400] - samples[begin : begin + 400].mean()
        window: dict[str, Any] = {"sr": RATE, "n_fft": 512, "win_length": 400, "center": False}
        window["y"] = np.pad(frame, 56)
        mel = librosa.feature.melspectrogram(n_mels=40, **window)
        found["mel"].append(librosa.power_to_db(mel, top_db=80)[:, 0])
        found["mfcc"].append(librosa.feature.mfcc(S=found["mel"][-1][:, None], n_mfcc=25)[:, 0])
        found["centroid"].append(librosa.feature.spectral_centroid(**window)[0, 0])
        found["zcr"].append(librosa.feature.zero_crossing_rate(frame, **grid)[0, 0])
        found["rms"].append(librosa.feature.rms(y=frame, **grid)[0, 0])
    return {name: np.array(values, np.float64) for name, values in found.items()}


def _ffmpeg(path: Path, *arguments: str) -> bytes:
    command = (imageio_ffmpeg.get_ffmpeg_exe(), "-v", "quiet", "-i", str(path), *arguments)
    return subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, check=False
    ).stdout


def _largest(container: Any) -> int | None:
    """Number of the video stream of largest area that is no cover."""
    moving = [
        stream
        for stream in container.streams.video
        if stream.codec_context and not stream.disposition & Disposition.attached_pic
    ]
    areas = [one.codec_context.width * one.codec_context.height for one in moving]
    return moving[int(np.argmax(areas))].index if moving else None


def _loudest(streams: Sequence[Any]) -> int | None:
    """Number of the default audio stream, or of the one with most channels."""

    def worth(stream: Any) -> tuple[bool, int]:
        return bool(stream.disposition & Disposition.default), stream.codec_context.channels

    usable = [stream for stream in streams if stream.codec_context]
    return max(usable, key=worth).index if usable else None


def _frames(container: Any, index: int) -> Iterator[Any]:
    """All frames that can be decoded, damaged packets left out."""
    stream = container.streams[index]
    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, av.FFmpegError):
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            continue


def _bits(frame: Any) -> float | None:
    if frame.format.name not in _PLANAR_8_BIT:
        return None
    plane = frame.planes[0]
    luma = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    counts = np.bincount(luma[: frame.height, : frame.width].ravel(), minlength=256)
    return float(entropy(counts, base=2))


def _shown(path: Path, index: int) -> tuple[int, int]:
    filters = (
        "scale=w='if(lt(iw*sar,ih),256,trunc(256*iw*sar/ih))'"
        ":h='if(lt(iw*sar,ih),trunc(256*ih/(iw*sar)),256)',setsar=1"
    )
    square = ("-vf", filters, "-frames:v", "1")
    png = _ffmpeg(path, "-map", f"0:{index}", *square, "-f", "image2pipe", "-c:v", "png", "-")
    if not png:
        return (0, 0)
    size: tuple[int, int] = Image.open(io.BytesIO(png)).size
    return size
