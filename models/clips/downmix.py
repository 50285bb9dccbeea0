"""One frame of sound as mono: which share each channel has in it."""

import functools
from typing import Any

import av
import numpy as np
from av.audio.frame import format_dtypes
from numpy.typing import NDArray

_SIDE = 0.5
_FRONT = float(np.sqrt(0.5))
DOWNMIX: dict[str, float] = {
    "FC": 1.0,
    **dict.fromkeys(("FL", "FR", "FLC", "FRC", "WL", "WR", "DL", "DR", "BC"), _FRONT),
    **dict.fromkeys(("BL", "BR", "SL", "SR", "SDL", "SDR"), _SIDE),
    **dict.fromkeys(("TC", "TFL", "TFC", "TFR", "TBL", "TBC", "TBR", "TSL", "TSR"), _SIDE),
    **dict.fromkeys(("BFL", "BFC", "BFR"), _SIDE),
    **dict.fromkeys(("LFE", "LFE2"), 0.0),
    "AMBI0": 1.0,
    **dict.fromkeys((f"AMBI{number}" for number in range(1, 64)), 0.0),
}
"""Share of each channel in the mono mix, before they are divided by their sum.

Rec. ITU-R BS.775-4, annex 4, down-mix to 1/0: left and right 0.7071, centre 1, surrounds 0.5
(a single surround 0.7071), the low-frequency effects channel left out. Height and floor channels,
which BS.775 does not know, count as surrounds. Of Ambisonics, the first channel is the sound
without its directions, hence the mix. Dividing by the sum keeps the mix within full scale.
"""

_MOST_PLANES = 7
"""FFmpeg's list of planes has eight places. PyAV looks for an empty one at its end, and where
there is none it reads on, into memory that is not the frame's."""
_FULL_SCALE = {"u1": (128.0, 128.0), "i2": (0.0, 2.0**15), "i4": (0.0, 2.0**31)}
"""Middle and full scale of the integer formats, by NumPy type."""
_USUAL_LAYOUTS = ("mono", "stereo", "2.1", "4.0", "5.0", "5.1", "6.1", "7.1")
"""What a stream of 1 to 8 channels is taken for that says no more of them."""


def mono(frame: Any, only: int = -1) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """One ``av.AudioFrame`` as mono.

    Args:
        frame: the sound.
        only: number of the one channel to hear, where the frame has it; -1 for the mix.

    Returns:
        The samples, nominally in [-1, 1], shape (n_samples,), and the energy that each channel
        would have in them alone, shape (n_channels,).
    """
    if not _readable(frame):
        frame = av.AudioResampler(format="flt").resample(frame)[0]
    shares = _shares(tuple(channel.name for channel in frame.layout.channels))
    if 0 <= only < shares.size:
        shares = np.eye(shares.size, dtype=np.float32)[only]
    raw = frame.to_ndarray()
    planes = _scaled(raw if frame.format.is_planar else raw.reshape(-1, shares.size).T)
    mixed: NDArray[np.float32] = shares @ planes
    return mixed, shares**2 * np.einsum("cs,cs->c", planes, planes)


def _readable(frame: Any) -> bool:
    """Whether PyAV can give the frame's samples as an array."""
    fits = not frame.format.is_planar or frame.layout.nb_channels <= _MOST_PLANES
    return fits and frame.format.name in format_dtypes


def _scaled(planes: NDArray[Any]) -> NDArray[np.float32]:
    if planes.dtype.kind == "f":
        return planes.astype(np.float32, copy=False)
    middle, full = _FULL_SCALE[planes.dtype.str[1:]]
    return ((planes - middle) / full).astype(np.float32)


@functools.cache
def _shares(channels: tuple[str, ...]) -> NDArray[np.float32]:
    """Share of each channel, shape (n_channels,), summing to one."""
    known = all(name in DOWNMIX for name in channels)
    if not known and len(channels) <= len(_USUAL_LAYOUTS):
        usual = av.AudioLayout(_USUAL_LAYOUTS[len(channels) - 1])
        channels = tuple(channel.name for channel in usual.channels)
    shares = np.array([DOWNMIX.get(name, _SIDE) for name in channels], np.float32)
    if not shares.any():
        shares = np.ones(len(channels), np.float32)
    shares /= shares.sum()
    return shares
