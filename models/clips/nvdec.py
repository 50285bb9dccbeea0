"""Pictures by a GPU's video decoder (NVDEC), which FFmpeg drives: those of a CPU, for less CPU.

The standard of H.264 leaves a picture's bits to nobody, so an undamaged stream gives the same ones.
FFmpeg parses it as ever; what the card decodes comes back as NV12. What is damaged, turned, or of a
kind that the card lacks is decoded by the CPU.
"""

import contextlib
import functools
import logging
from collections.abc import Iterator
from typing import Any, Literal

import av
from av.codec.hwaccel import HWAccel

from meldflow.models.clips.container import codec_options
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.clips.pixels import orientation

_CODECS = {"h264"}
"""Those whose pictures were found equal. A kind that the card lacks (4:4:4, ten bits) shows at the
first picture, and goes to the CPU."""

_KEPT = 4
"""Decoders, each for streams of one kind: surfaces are memory of the card."""

logger = logging.getLogger("meldflow.decoder")


class Nvdec:
    """One stream's packets on their way through a kept decoder."""

    def __init__(self, stream: Any, context: Any) -> None:
        """Feed ``stream`` to a decoder that ``_context`` gave."""
        self._stream, self._context = stream, context
        # A kept decoder knows nothing of this stream's header: what it says goes into the packets.
        self._inline = av.BitStreamFilterContext(f"{context.name}_mp4toannexb", stream)
        self._fit: bool | None = None
        """Whether it is a stream for the card; None before its first packet."""
        self.failed = False
        """Whether the card met what it could not decode."""

    def decode(self, packet: Any) -> Iterator[Any]:
        """The frames that a packet completes, or, if it is empty, those that are left.

        None at all where the stream is not for the card.

        Raises:
            av.FFmpegError: the stream is damaged, or of a kind that the card lacks.
        """
        if self._fit is None:
            self._fit = self._looked_at(packet)
        try:
            yield from self._frames(packet) if self._fit else ()
        except av.FFmpegError:
            self.failed = True
            raise

    def _frames(self, packet: Any) -> Iterator[Any]:
        last = not packet.size
        for one in self._inline.filter(None if last else packet):
            yield from self._context.decode(one)
        if last:
            ending = av.Packet()
            ending.time_base = self._stream.time_base
            yield from self._context.decode(ending)

    def _looked_at(self, packet: Any) -> bool:
        """Whether the first picture is upright, by the stream's own decoder.

        Which learns the pixels' aspect and format by that, and puts the container's display matrix
        on its frames, as a kept decoder cannot.
        """
        frames = [*packet.decode(), *self._stream.codec_context.decode(None)]
        return bool(frames) and orientation(frames[0]) == (False, 0)


@contextlib.contextmanager
def kept(stream: Any, options: DecodeOptions) -> Iterator[Nvdec | None]:
    """A decoder of the card for ``stream``, for the block; None where there is none for it.

    It is kept from clip to clip: a new one takes 60 ms, and half a second where 14 processes make
    theirs at once.
    """
    header: Any = None if stream is None else stream.codec_context
    codec, context = header.codec.canonical_name if header is not None else "", None
    if codec in _CODECS:
        size = header.width, header.height
        context = _context(codec, *size, options.max_pixels, options.skipped)
    if context is None:
        yield None
        return
    card = Nvdec(stream, context)
    try:
        yield card
    except BaseException:
        card.failed = True
        raise
    finally:
        if card.failed:
            _context.cache_clear()  # nothing is known of its state
        else:
            context.flush_buffers()


@functools.lru_cache(maxsize=_KEPT)
def _context(
    codec: str, _width: int, _height: int, max_pixels: int, skipped: Literal["DEFAULT", "NONREF"]
) -> Any:
    """A decoder for streams of one kind; None where this process has no card."""
    try:
        context = av.CodecContext.create(codec, "r", hwaccel=_card())
    except (av.FFmpegError, NotImplementedError) as error:
        logger.warning("no NVDEC here (%s): the CPU decodes", error)
        return None
    context.thread_count = 1
    context.options = codec_options(max_pixels)
    context.skip_frame = skipped
    return context


def _card() -> HWAccel | None:
    """The first card that this process sees; its context is the process', and made once."""
    return HWAccel("cuda", allow_software_fallback=False, options={"primary_ctx": "1"})
