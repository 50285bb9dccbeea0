"""How clips are decoded."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

MAX_ASPECT = 16.0
"""Longer side of a picture over its shorter one; scaling one beyond would blow up the longer."""

CPU, NVDEC = DECODERS = ("cpu", "nvdec")
"""What decodes pictures: FFmpeg's own decoders, or a GPU's where it has one for the stream."""

EVERY, REFERENCE = CANDIDATES = ("all", "reference")
"""Pictures that are scored: every one, or only those that another is coded from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeOptions:
    """How clips are decoded; part of the key of every extractor that hears or sees them."""

    sample_rate: ClassVar[int] = 16000
    """Rate of the decoded sound, Hz: what every network of sound was trained on."""
    silence: float = 1e-4
    """Sound whose largest magnitude stays below this (-80 dBFS) is ``silent``."""
    frames: int = 10
    """Frames kept per clip: those of highest luma entropy."""
    short_side: int = 256
    """Shorter side of a kept frame, pixels."""
    max_seconds: float = 600.0
    """A stream that runs longer, whatever its header declares, is ``too_long``."""
    max_pixels: int = 4096 * 2304
    """A larger picture is a ``decode_error``: its frames would not fit in a worker's memory."""
    strict: bool = False
    """Whether a damaged stream (``StreamFacts.damage``) is a ``decode_error``; otherwise what
    could be decoded of it is kept. Always part of the parameters."""
    decoder: str = CPU
    """A name in ``DECODERS``; part of the key where it is not the CPU, since a card does not tell
    of all damage that it meets."""
    candidates: str = EVERY
    """A name in ``CANDIDATES``; part of the key where it is not all. Pictures that nothing refers
    to can be passed over, which takes less time, and are never chosen then."""
    version: int = 3
    """Raised by the author when the same options give other values."""

    @property
    def skipped(self) -> Literal["DEFAULT", "NONREF"]:
        """What FFmpeg's decoders are told to pass over, in its words."""
        return "DEFAULT" if self.candidates == EVERY else "NONREF"

    @property
    def audio_parameters(self) -> dict[str, Any]:
        """What decides the decoded sound, as JSON values."""
        return {
            "decode_version": self.version,
            "downmix": "itu-r-bs.775",
            "max_seconds": self.max_seconds,
            "resampler": "soxr-hq",
            "sample_rate": self.sample_rate,
            "silence": self.silence,
            "strict": self.strict,
        }

    @property
    def video_parameters(self) -> dict[str, Any]:
        """What decides the chosen frames, as JSON values."""
        return {
            "choice": "luma-entropy",
            "decode_version": self.version,
            "frames": self.frames,
            "max_pixels": self.max_pixels,
            "max_seconds": self.max_seconds,
            "resize": "swscale-bilinear",
            "short_side": self.short_side,
            "strict": self.strict,
            **({} if self.decoder == CPU else {"decoder": self.decoder}),
            **({} if self.candidates == EVERY else {"candidates": self.candidates}),
        }

    @property
    def parameters(self) -> dict[str, Any]:
        """Everything that decides what ``decode`` gives, as JSON values."""
        return self.audio_parameters | self.video_parameters
