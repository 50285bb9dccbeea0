"""The sound of one stream: in its place in time, mono, resampled."""

import math
from collections import deque
from itertools import zip_longest
from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from meldflow.models.clips.choice import too_long
from meldflow.models.clips.downmix import mono
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Audio, Missing, Reason

_JITTER, _FARTHEST, _BELIEVED = 0.04, 0.1, 1.0
"""Seconds by which sound may lie beside its time stamps: if they waver; at most; and beside such
that are wrong, because those around them say something else."""
_BURST = 0.5
"""Seconds of sound whose time stamps are looked at together: after a loss all are late, but packets
that come late are followed by such that come in time."""
_CANCELLED = 0.01
"""Energy of the mix over that of its loudest channel alone, below which the channels cancel."""


class Sound:
    """Collects the decoded frames of an audio stream."""

    def __init__(self, options: DecodeOptions, stream: Any, zero: float | None, only: int) -> None:
        """Prepare for one ``av`` audio stream, or refuse it for what its index says.

        ``zero`` is the clip's start on the container's clock, seconds; None: the first frame.
        ``only`` is the number of the one channel to hear; -1 for the mix of all.
        """
        self._options = options
        self._zero = zero
        self.refusal = too_long(stream, options.max_seconds)
        self.start: float | None = None
        """When the first sample is heard, seconds from the clip's start."""
        self.facts: dict[str, Any] = {"seconds": 0.0, "gaps": 0.0, "overlaps": 0.0}
        self.facts["only_channel"] = only
        """What is told of the sound (``AudioFacts``)."""
        self._length = 0.0
        """Of what is kept so far, silence included, seconds."""
        self._energy: list[float] = []
        """Of the mix, and of each channel alone in it."""
        self._rate = 0
        self._waiting: deque[tuple[Any, float]] = deque()
        """Frames to be put in place, and their time stamps less all the sound before them."""
        self._waited, self._early = 0.0, 0.0
        """Sound in them, and the latest of those differences, seconds."""
        self._resampler: Any = None
        self._chunks: list[NDArray[np.float32]] = []

    def feed(self, frame: Any) -> None:
        """Add one ``av.AudioFrame``."""
        if frame.time is not None:
            self._early = frame.time - self.facts["seconds"] - self._waited
        self._waiting.append((frame, self._early))
        self._waited += frame.samples / frame.sample_rate
        if self._waited > _BURST:
            self._place()

    def end(self) -> int:
        """Put what still waits in place.

        Returns:
            Number of the loudest channel where the mix of all is next to nothing beside it; by
            their ratio, for noise is left of any two that cancel. Else -1.
        """
        while self._waiting and self.refusal is None:
            self._place()
        mixed, *alone = self._energy or [0.0]
        loudest = max(alone, default=0.0)
        cancel = self.facts["only_channel"] < 0 and mixed < _CANCELLED * loudest
        return alone.index(loudest) if cancel else -1

    def _place(self) -> None:
        """Put the frame that has waited longest where it belongs."""
        off = self._off()
        frame, _ = self._waiting.popleft()
        if frame.sample_rate != self._rate:
            self._change_rate(frame.sample_rate)
        shift = max(round(off * self._rate), -frame.samples)
        off, seconds = shift / self._rate, frame.samples / self._rate
        self._waited -= seconds
        self._length += off + seconds
        if self._length > self._options.max_seconds:
            message = f"sound runs past {self._options.max_seconds:g} s"
            self.refusal = Missing(reason=Reason.TOO_LONG, message=message)
            self._chunks.clear()
            return
        if self.start is None:
            self.start = max(0.0, off)
        else:
            self.facts["gaps"] += max(0.0, off)
        self.facts["overlaps"] += max(0.0, -off)
        self.facts["seconds"] += seconds
        samples, alone = mono(frame, self.facts["only_channel"])
        energy = (float(samples @ samples), *alone.tolist())
        self._energy = [sum(both) for both in zip_longest(self._energy, energy, fillvalue=0.0)]
        if shift > 0:
            self._push(np.zeros(shift, np.float32))
        self._push(samples[max(0, -shift) :])

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

    def _off(self) -> float:
        """Seconds from the end of what is kept to where the next frame is to be put."""
        if self._zero is None:
            self._zero = self._waiting[0][1]
        kept: float = self._zero + self._length - self.facts["seconds"]
        offs = [early - kept for _, early in self._waiting]
        _, all_are, _ = sorted((0.0, min(offs), max(offs)))
        if self.start is None:
            return all_are
        off = all_are if abs(all_are) > _JITTER else 0.0
        rest = offs[0] - off
        if _FARTHEST < abs(rest) < _BELIEVED:
            off += rest - math.copysign(_FARTHEST, rest)
        return off

    def _change_rate(self, rate: int) -> None:
        self._drain()
        self._rate = rate
        if rate != self._options.sample_rate:
            self._resampler = soxr.ResampleStream(
                rate, self._options.sample_rate, 1, dtype="float32", quality="HQ"
            )

    def _push(self, samples: NDArray[np.float32]) -> None:
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._chunks.append(samples)

    def _drain(self) -> None:
        if self._resampler is not None:
            rest = self._resampler.resample_chunk(np.zeros(0, np.float32), last=True)
            self._chunks.append(rest)
            self._resampler = None
