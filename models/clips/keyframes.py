"""The frames of one stream with the most in them: scored, chosen, upright, scaled."""

import heapq
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.clips.choice import too_long
from meldflow.models.clips.options import EVERY, MAX_ASPECT, DecodeOptions
from meldflow.models.clips.pixels import entropy, luma, orientation, rgb, upright
from meldflow.models.schema.media import Missing, Reason, Video


class Pictures:
    """Keeps the frames of highest luma entropy of a video stream, ties to the earlier one.

    An interlaced frame is scored as it is: its comb is a matter of which line follows which, and
    the histogram, like the entropy, knows nothing of the order of lines.
    """

    def __init__(self, options: DecodeOptions, stream: Any, zero: float | None) -> None:
        """Prepare for one ``av`` video stream, or refuse it for what its header says.

        ``zero`` is the clip's start on the container's clock, seconds; None: the first frame.
        """
        self._options = options
        self._stream = stream
        self.all = options.candidates == EVERY
        """Whether every frame is fed, none passed over."""
        self._zero = zero
        self._aspect = 1.0
        """Width of the first frame's pixels over their height."""
        context = stream.codec_context
        self.refusal: Missing | None = too_long(stream, options.max_seconds)
        self.refusal = self.refusal or self._too_large(context.width, context.height)
        self.start: float | None = None
        """When the first frame is shown, seconds from the clip's start."""
        self.seconds = 0.0
        """From the first frame to the end of the last."""
        self.mirrored, self.turns = False, 0
        """How the first frame is turned upright (``meldflow.models.clips.pixels.orientation``)."""
        self.interlaced = False
        """Whether any frame holds two fields."""
        self._best: list[tuple[float, int, float, Any]] = []
        self._curve: list[tuple[float, float]] = []

    def feed(self, frame: Any) -> None:
        """Score one ``av.VideoFrame``."""
        seconds = self._time(frame)
        if self.start is None:
            self.start = seconds
            self.mirrored, self.turns = orientation(frame)
            # What the container says, else the pictures themselves, to whoever decodes them.
            context = self._stream.codec_context
            aspect = self._stream.sample_aspect_ratio or context.sample_aspect_ratio
            self._aspect = float(aspect or 1)
        self.refusal = self._refuse(frame, seconds)
        if self.refusal is not None:
            self._best.clear()
            return
        self.interlaced = self.interlaced or frame.interlaced_frame
        shown = float(frame.duration * frame.time_base) if frame.duration else self._step
        self.seconds = max(self.seconds, seconds - self.start + shown)
        entry = (entropy(luma(frame)), -len(self._curve), seconds, frame)
        self._curve.append((seconds, entry[0]))
        keep = heapq.heappush if len(self._best) < self._options.frames else heapq.heappushpop
        keep(self._best, entry)

    def finish(self) -> Video:
        """The chosen frames in time order."""
        chosen = sorted(self._best, key=lambda entry: -entry[1])
        self._best.clear()
        curve = np.array(self._curve, np.float32)
        index = np.array([-order for _, order, _, _ in chosen], np.int32)
        return Video(
            frames=self._scaled([frame for _, _, _, frame in chosen]),
            index=index,
            timestamp=curve[index, 0],
            entropy=curve[index, 1],
            n_frames=len(curve),
            curve_timestamp=curve[:, 0],
            curve_entropy=curve[:, 1],
        )

    def _scaled(self, frames: list[Any]) -> NDArray[np.uint8]:
        # A stream may change its size half way; all frames take the size of the first.
        width, height = self._size(frames[0])
        pictures = []
        for frame in frames:
            mirrored, turns = orientation(frame)
            size = (height, width) if turns % 2 else (width, height)
            pictures.append(upright(rgb(frame, *size), mirrored, turns))
        return np.stack(pictures)

    def _size(self, frame: Any) -> tuple[int, int]:
        """(width, height) of a kept frame, upright, its pixels square."""
        _, turns = orientation(frame)
        width, height = frame.width * self._aspect, float(frame.height)
        if turns % 2:
            # It lies on its side: what is shown as its width was its height.
            width, height = frame.height / self._aspect, float(frame.width)
        return scaled_size(width, height, self._options.short_side)

    def _refuse(self, frame: Any, seconds: float) -> Missing | None:
        if seconds > self._options.max_seconds:
            message = f"pictures run past {self._options.max_seconds:g} s"
            return Missing(reason=Reason.TOO_LONG, message=message)
        return self._too_large(frame.width, frame.height)

    def _too_large(self, width: int, height: int) -> Missing | None:
        """Why pictures of that size are refused; one of no size is not known yet."""
        size = f"pictures of {width}x{height} pixels"
        if width * height > self._options.max_pixels:
            message = f"{size}, more than {self._options.max_pixels}"
            return Missing(reason=Reason.DECODE_ERROR, message=message)
        sides = (width * self._aspect, height)
        if max(sides) > MAX_ASPECT * min(sides):
            return Missing(reason=Reason.DECODE_ERROR, message=f"{size} are no pictures")
        return None

    def _time(self, frame: Any) -> float:
        """Seconds from the clip's start; by the frame rate where the container says nothing."""
        if frame.time is None:
            return len(self._curve) * self._step
        if self._zero is None:
            self._zero = float(frame.time)
        return float(frame.time) - self._zero

    @property
    def _step(self) -> float:
        """Seconds between two frames by the header; 0 where it does not say."""
        rate = self._stream.average_rate
        return 1 / float(rate) if rate else 0.0


def scaled_size(width: float, height: float, short: int) -> tuple[int, int]:
    """(width, height) with the shorter side ``short``; the other one rounded down."""
    if width <= height:
        return short, math.floor(short * height / width)
    return math.floor(short * width / height), short
