"""Pictures by a GPU's video decoder beside those of the CPU.

Without a GPU, FFmpeg's own decoder is kept from clip to clip in its place.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from meldflow.models.clips import nvdec
from meldflow.models.clips.decode import decode
from meldflow.models.clips.options import NVDEC, DecodeOptions
from meldflow.models.schema.media import Missing, Video
from tests.gpu import DEVICE

OPTIONS = DecodeOptions(decoder=NVDEC)


def follow(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The codecs of the streams that a kept decoder gets from here on."""
    if DEVICE == "cpu":
        monkeypatch.setattr(nvdec, "_card", lambda: None)
    nvdec._context.cache_clear()
    streams: list[str] = []
    opened = nvdec.Nvdec.__init__

    def noticed(one: nvdec.Nvdec, stream: object, context: object) -> None:
        opened(one, stream, context)
        streams.append(stream.codec_context.name)  # type: ignore[attr-defined]

    monkeypatch.setattr(nvdec.Nvdec, "__init__", noticed)
    return streams


def alike(clip: Path, options: DecodeOptions | None = None) -> bool:
    """Whether there are pictures, after both were found to make the same of them."""
    cpu = decode(clip, options)
    card = decode(clip, replace(options, decoder=NVDEC) if options else OPTIONS)
    assert str(card.video_facts) == str(cpu.video_facts)
    if isinstance(cpu.video, Missing) or isinstance(card.video, Missing):
        assert card.video == cpu.video
        return False
    for name in Video.__dataclass_fields__:
        found, wanted = (getattr(one, name) for one in (card.video, cpu.video))
        np.testing.assert_array_equal(found, wanted, err_msg=f"{clip.name} {name}")
    return True
