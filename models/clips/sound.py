"""The sound of one stream: in its place in time, mono, resampled."""

from __future__ import annotations

from typing import Any

import numpy as np
import soxr
from numpy.typing import NDArray

from meldflow.models.clips.choice import too_long
from meldflow.models.clips.downmix import mono
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Audio, Missing, Reason

_GAP = 0.1
"""Seconds of missing sound inside a stream from which silence is put in their place; shorter
ones are jitter of the container's clock."""


class Sound:
    """Collects the decoded frames of an audio stream."""

    def __init__(self, options: DecodeOptions, stream: Any, clip_start: float | None) -> None:
        """Prepare for one ``av`` audio stream, or refuse it for what its header says.

        Args:
            options: rate, silence and length limit.
            stream: the audio stream.
            clip_start: when the pictures start on the container's clock, seconds; sound that
                starts later is led in by silence. None where there are no pictures.
        """
        self._options = options
        self._clip_start = clip_start
        self.refusal = too_long(stream, options.max_seconds)
        self.start: float | None = None
        """When the first sample is heard on the container's clock, seconds."""
        self.seconds = 0.0
        """Sound decoded, without the silence that fills its gaps."""
        self.gaps = 0.0
        """Silence put where sound was missing inside the stream, seconds."""
        self._length = 0.0
        """Of what is kept so far, silence included, seconds."""
        self._loudest = 0.0
        """Largest magnitude of a channel that is in the mix."""
        self._end: float | None = None
        self._rate = 0
        self._resampler: Any = None
        self._chunks: list[NDArray[np.float32]] = []

    def feed(self, frame: Any) -> None:
        """Add one ``av.AudioFrame``."""
        if frame.sample_rate != self._rate:
            self._change_rate(frame.sample_rate)
        missing = self._missing(frame)
        seconds = frame.samples / self._rate
        if self._length + missing + seconds > self._options.max_seconds:
            message = f"sound runs past {self._options.max_seconds:g} s"
            self.refusal = Missing(reason=Reason.TOO_LONG, message=message)
            self._chunks.clear()
            return
        if missing:
            self._push(np.zeros(round(missing * self._rate), np.float32))
        samples, loudest = mono(frame)
        self._push(samples)
        self._loudest = max(self._loudest, loudest)
        self._note(frame, missing, seconds)

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
            return Missing(reason=Reason.SILENT, message=self._silence(peak))
        return Audio(samples=samples)

    def _silence(self, peak: float) -> str:
        quiet = f"largest magnitude {peak:.2g} is below {self._options.silence:g}"
        if self._loudest < self._options.silence:
            return quiet
        return (
            f"the channels cancel each other: one reaches {self._loudest:.2g}, but mixed, {quiet}"
        )

    def _missing(self, frame: Any) -> float:
        """Seconds of silence that belong before ``frame``."""
        if frame.time is None:
            return 0.0
        if self._end is not None:
            gap = float(frame.time - self._end)
            return gap if gap > _GAP else 0.0
        if self._clip_start is None or self._chunks:
            return 0.0
        return max(0.0, float(frame.time - self._clip_start))

    def _note(self, frame: Any, missing: float, seconds: float) -> None:
        """Keep account of what was heard and when."""
        self._length += missing + seconds
        self.seconds += seconds
        if self._end is not None:
            self.gaps += missing
        if frame.time is not None:
            self.start = frame.time if self.start is None else self.start
            self._end = frame.time + seconds

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
