"""What a card decodes, on real clips and in the child that decodes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meldflow.models.clips.decode import decode
from meldflow.models.schema.media import Video
from meldflow.tasks.isolated.decoder import Decoder
from tests.gpu import DEVICE
from tests.gpu.pictures import OPTIONS, alike, follow
from tests.media import Film, noise, write
from tests.paths import DATA

pytestmark = pytest.mark.gpu

CLIPS = sorted((*(DATA / "clips").glob("*"), *(DATA / "cases").glob("*")))


@pytest.mark.skipif(not CLIPS, reason="real clips lie beside the checkout")
def test_real_clips_are_decoded_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    fed = follow(monkeypatch)
    decoded = [clip.name for clip in CLIPS if alike(clip)]
    assert len(decoded) > len(fed) > 10


@pytest.mark.skipif(DEVICE == "cpu", reason="a child has a card of its own, or none")
def test_the_child_that_decodes_uses_the_card(tmp_path: Path) -> None:
    """Its limit of memory leaves room for what a card needs."""
    clip = write(tmp_path / "a.mp4", [Film(frames=noise(40, height=240, width=320))])
    with Decoder() as decoder:
        card = decoder.decode(str(clip), OPTIONS, audio=False, video=True).video
        assert isinstance(card, Video), card
        mapped = Path(f"/proc/{decoder.pid}/maps").read_text()
    cpu = decode(clip).video
    assert isinstance(cpu, Video)
    np.testing.assert_array_equal(card.frames, cpu.frames)
    assert "libnvcuvid" in mapped
