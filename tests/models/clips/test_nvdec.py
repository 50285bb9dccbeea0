"""A decoder that is kept from clip to clip, as a card's is: FFmpeg's own stands for it here."""

from __future__ import annotations

import logging
from pathlib import Path

import av
import pytest

from meldflow.models.clips import nvdec
from meldflow.models.clips.decode import decode
from meldflow.models.schema.media import Video
from tests import gpu, real
from tests.gpu.pictures import OPTIONS, alike, follow
from tests.media import Film, Track, noise, tone, write


def test_clips_one_after_another_know_nothing_of_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = follow(monkeypatch)
    for number in range(3):
        film = Film(frames=noise(12 + number, seed=number))
        assert alike(write(tmp_path / f"{number}.mp4", [film, Track(samples=tone(220, 1.0)[None])]))
    assert fed == ["h264"] * 3
    assert nvdec._context.cache_info().misses == 1


H264 = [one for one in (*real.FILMS, *real.CONTAINERS) if one.suffix in {".mp4", ".mkv", ".mov"}]


@pytest.mark.parametrize("clip", H264, ids=lambda clip: clip.name)
def test_packaged_films_are_decoded_alike(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    follow(monkeypatch)
    assert alike(clip)


def test_what_is_damaged_or_cut_short_is_the_cpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = follow(monkeypatch)
    whole = real.BUNNY.read_bytes()
    with av.open(str(real.BUNNY)) as container:
        places = [one.pos for one in container.demux(video=0) if one.pos is not None]
    bits, lengths = bytearray(whole), bytearray(whole)
    bits[400_000:400_400] = bytes(one ^ 0x55 for one in bits[400_000:400_400])
    lengths[places[40] : places[40] + 4] = b"\xff" * 4  # a part longer than its packet
    damaged: dict[str, bytes | bytearray] = {
        "half": whole[: len(whole) // 2],
        "bits": bits,
        "lengths": lengths,
    }
    for name, content in damaged.items():
        clip = tmp_path / f"{name}.mp4"
        clip.write_bytes(content)
        alike(clip)
    assert nvdec._context.cache_info().currsize == 0  # a decoder that failed is not kept
    assert alike(real.BUNNY)
    assert "h264" in fed


def test_a_clip_without_pictures_needs_no_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fed = follow(monkeypatch)
    sound = Track(samples=tone(220, 1.0)[None], codec="pcm_s16le")
    assert not alike(write(tmp_path / "sound.wav", [sound]))
    assert fed == []


@pytest.mark.skipif(gpu.DEVICE != "cpu", reason="there is a card")
def test_without_a_card_the_cpu_decodes_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    nvdec._context.cache_clear()
    with caplog.at_level(logging.WARNING, "meldflow.decoder"):
        first, second = (decode(real.BUNNY, OPTIONS, audio=False).video for _ in range(2))
    assert isinstance(first, Video)
    assert isinstance(second, Video)
    assert [record.message[:15] for record in caplog.records] == ["no NVDEC here ("]
