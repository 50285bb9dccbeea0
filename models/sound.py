"""The sound of one stream: down-mixed to mono, in its place in time, resampled.

Used by ``models.decode`` only.
"""

from __future__ import annotations

import functools
from typing import Any

import av
import numpy as np
import soxr
from av.audio.frame import format_dtypes
from numpy.typing import NDArray

from models.options import DecodeOptions
from models.schema import Audio, Missing, Reason

_SIDE = 0.5
_FRONT = float(np.sqrt(0.5))
DOWNMIX: dict[str, float] = {
    "FC": 1.0,
    **dict.fromkeys(("FL", "FR", "FLC", "FRC", "WL", "WR", "DL", "DR", "BC"), _FRONT),
    **dict.fromkeys(("BL", "BR", "SL", "SR", "SDL", "SDR"), _SIDE),
    **dict.fromkeys(("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR", "TSL", "TSR"), _SIDE),
    **dict.fromkeys(("LFE", "LFE2"), 0.0),
}
"""Share of each channel in the mono mix, before they are divided by their sum.

Rec. ITU-R BS.775-4, annex 4, down-mix to 1/0: left and right 0.7071, centre 1, surrounds 0.5
(a single surround 0.7071), the low-frequency effects channel left out. Height channels, which
BS.775 does not know, count as surrounds. Dividing by the sum keeps the mix within full scale.
"""

_GAP = 0.1
"""Seconds of missing sound inside a stream from which silence is put in their place; shorter
ones are jitter of the container's clock."""


class Sound:
    """Collects the decoded frames of an audio stream."""

    def __init__(self, options: DecodeOptions, clip_start: float | None) -> None:
        """Prepare for one stream.

        Args:
            options: rate, silence and length limit.
            clip_start: when the pictures start on the container's clock, seconds; sound that
                starts later is led in by silence. None where there are no pictures.
        """
        self.refusal: Missing | None = None
        self._options = options
        self._clip_start = clip_start
        self._end: float | None = None
        self._rate = 0
        self._resampler: Any = None
        self._chunks: list[NDArray[np.float32]] = []
        self._seconds = 0.0

    def feed(self, frame: Any) -> None:
        """Add one ``av.AudioFrame``."""
        if frame.sample_rate != self._rate:
            self._change_rate(frame.sample_rate)
        gap = self._gap(frame)
        if self._seconds + gap + frame.samples / self._rate > self._options.max_seconds:
            message = f"sound runs past {self._options.max_seconds:g} s"
            self.refusal = Missing(reason=Reason.TOO_LONG, message=message)
            self._chunks.clear()
            return
        if gap:
            self._push(np.zeros(round(gap * self._rate), np.float32))
        self._push(_mono(frame))
        if frame.time is not None:
            self._end = frame.time + frame.samples / self._rate

    def finish(self) -> Audio | Missing:
        """Everything heard, shape (n_samples,)."""
        self._drain()
        samples = np.concatenate(self._chunks) if self._chunks else np.zeros(0, np.float32)
        self._chunks.clear()
        if not samples.size:
            return Missing(reason=Reason.TOO_SHORT, message="no samples")
        if not np.isfinite(samples).all():
            return Missing(reason=Reason.DECODE_ERROR, message="sound is not finite")
        peak = float(np.abs(samples).max())
        if peak < self._options.silence:
            message = f"largest magnitude {peak:.2g} is below {self._options.silence:g}"
            return Missing(reason=Reason.SILENT, message=message)
        return Audio(samples=samples)

    def _gap(self, frame: Any) -> float:
        """Seconds of silence that belong before ``frame``."""
        if frame.time is None:
            return 0.0
        if self._end is not None:
            gap = float(frame.time - self._end)
            return gap if gap > _GAP else 0.0
        if self._clip_start is None or self._chunks:
            return 0.0
        return max(0.0, float(frame.time - self._clip_start))

    def _change_rate(self, rate: int) -> None:
        self._drain()
        self._rate = rate
        if rate != self._options.sample_rate:
            self._resampler = soxr.ResampleStream(
                rate, self._options.sample_rate, 1, dtype="float32", quality="HQ"
            )

    def _push(self, mono: NDArray[np.float32]) -> None:
        self._seconds += mono.size / self._rate
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(mono)
        self._chunks.append(mono)

    def _drain(self) -> None:
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            self._chunks.append(rest)
            self._resampler = None


_READABLE = frozenset(format_dtypes)
_FULL_SCALE = {"u1": (128.0, 128.0), "i2": (0.0, 2.0**15), "i4": (0.0, 2.0**31)}
"""Middle and full scale of the integer formats, by NumPy type."""
_USUAL_LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 4: "4.0", 5: "5.0", 6: "5.1", 8: "7.1"}
"""What a stream that only says how many channels it has is taken for."""


def _mono(frame: Any) -> NDArray[np.float32]:
    """One frame's samples as mono in [-1, 1], shape (n_samples,)."""
    if frame.format.name not in _READABLE:
        frame = av.AudioResampler(format="fltp").resample(frame)[0]
    channels = tuple(channel.name for channel in frame.layout.channels)
    raw = frame.to_ndarray()
    planes = raw if frame.format.is_planar else raw.reshape(-1, len(channels)).T
    mixed: NDArray[np.float32] = _shares(channels) @ _scaled(planes)
    return mixed


def _scaled(planes: NDArray[Any]) -> NDArray[np.float32]:
    if planes.dtype.kind == "f":
        return planes.astype(np.float32, copy=False)
    middle, full = _FULL_SCALE[planes.dtype.str[1:]]
    return ((planes - middle) / full).astype(np.float32)


@functools.cache
def _shares(channels: tuple[str, ...]) -> NDArray[np.float32]:
    """Share of each channel, shape (n_channels,), summing to one."""
    if not all(name in DOWNMIX for name in channels) and len(channels) in _USUAL_LAYOUTS:
        usual = av.AudioLayout(_USUAL_LAYOUTS[len(channels)])
        channels = tuple(channel.name for channel in usual.channels)
    shares = np.array([DOWNMIX.get(name, _SIDE) for name in channels], np.float32)
    if not shares.any():
        shares = np.ones(len(channels), np.float32)
    shares /= shares.sum()
    return shares
