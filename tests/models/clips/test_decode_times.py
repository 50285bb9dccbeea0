"""One clock: sound lies where its time stamps say, and pictures, facts and features agree."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from meldflow.models.clips.decode import decode
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import Audio
from tests.media import Film, Track, noise, tone, write
from tests.models.clips.decoding import MONO, RATE, facts, pictures, sound

PACKET = 960
"""Samples of the packets that ``stamped`` writes, at 48 kHz: 20 ms."""


def clicking(seconds: float, at: float) -> NDArray[np.float32]:
    """Faint noise with one click, at 48 kHz, shape (n_samples,)."""
    samples = np.random.default_rng(0).normal(0, 0.01, round(seconds * 48000)).astype(np.float32)
    begin = round(at * 48000)
    samples[begin : begin + 8] = 0.9
    return samples


def stamped(path: Path, samples: NDArray[np.float32], late: Callable[[int], float | None]) -> Path:
    """The samples in packets whose time stamps are ``late`` by so many seconds; None: lost."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=48000, layout="mono")
        last = -48
        for number in range(samples.size // PACKET):
            delay, begin = late(number), number * PACKET
            if delay is None:
                continue
            part = np.ascontiguousarray(samples[None, begin : begin + PACKET])
            frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="mono")
            frame.sample_rate = 48000
            last = max(last + 48, begin + round(delay * 48000))  # a muxer takes no step back
            frame.pts, frame.time_base = last, Fraction(1, 48000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def click(audio: Audio) -> float:
    """When it is heard, seconds."""
    return float(np.argmax(np.abs(audio.samples))) / RATE


def test_losses_below_the_tenth_of_a_second_do_not_add_up(tmp_path: Path) -> None:
    path = stamped(
        tmp_path / "a.mkv", clicking(10, 9.0), lambda n: None if n % 50 in (20, 21, 22, 23) else 0
    )
    audio, (heard, _) = sound(path), facts(path)
    assert audio.samples.size / RATE == pytest.approx(10, abs=0.05)
    assert click(audio) == pytest.approx(9.0, abs=0.05)
    assert (heard.seconds, heard.gaps) == pytest.approx((9.2, 0.8), abs=0.05)
    assert heard.overlaps == 0


BURSTS: dict[str, Callable[[int], float]] = {
    "one late packet a second": lambda n: 0.15 if n % 50 == 10 else 0,
    "five late packets a second": lambda n: 0.15 if 10 <= n % 50 < 15 else 0,
    "eight packets that arrive together": lambda n: (
        max(0.0, 0.15 - 0.02 * (n % 50 - 10)) if n % 50 >= 10 else 0
    ),
    "fifteen packets that arrive together": lambda n: (
        max(0.0, 0.3 - 0.02 * (n % 50 - 10)) if n % 50 >= 10 else 0
    ),
}


@pytest.mark.parametrize("name", BURSTS)
def test_packets_that_come_late_in_bursts_do_not_make_the_clip_longer(
    tmp_path: Path, name: str
) -> None:
    path = stamped(tmp_path / "a.mkv", clicking(10, 9.9), BURSTS[name])
    audio, (heard, _) = sound(path), facts(path)
    assert audio.samples.size / RATE == pytest.approx(10, abs=0.1)
    assert click(audio) == pytest.approx(9.9, abs=0.1)
    assert heard.seconds + heard.gaps - heard.overlaps == pytest.approx(audio.samples.size / RATE)


@pytest.mark.parametrize("pace", [1.01, 0.99])
def test_a_clock_that_runs_at_another_pace_is_kept_up_with(tmp_path: Path, pace: float) -> None:
    path = stamped(tmp_path / "a.mkv", clicking(20, 19.0), lambda n: (pace - 1) * n / 50)
    audio, (heard, _) = sound(path), facts(path)
    assert click(audio) == pytest.approx(19.0 * pace, abs=0.05)
    assert audio.samples.size / RATE == pytest.approx(20 * pace, abs=0.05)
    more, less = (heard.gaps, heard.overlaps) if pace > 1 else (heard.overlaps, heard.gaps)
    assert more == pytest.approx(0.2, abs=0.05)
    assert less == 0


def test_time_stamps_that_waver_change_nothing(tmp_path: Path) -> None:
    samples = clicking(5, 4.0)
    waver = np.random.default_rng(1).uniform(-0.03, 0.03, 250)
    steady = sound(stamped(tmp_path / "a.mkv", samples, lambda _: 0))
    wavering = sound(stamped(tmp_path / "b.mkv", samples, lambda n: n and float(waver[n])))
    np.testing.assert_array_equal(wavering.samples, steady.samples)


def test_one_wrong_time_stamp_is_not_believed(tmp_path: Path) -> None:
    path = stamped(tmp_path / "a.mkv", clicking(5, 4.0), lambda _: 0)
    expected = sound(path).samples
    data, stamp = bytearray(path.read_bytes()), (2000).to_bytes(2, "big")
    with av.open(str(path)) as container:
        (packet,) = (one for one in container.demux() if one.pts == 2000)
        at = data.index(b"\x81" + stamp, packet.pos)  # of track 1, milliseconds in its cluster
    data[at + 1 : at + 3] = (22000).to_bytes(2, "big")
    path.write_bytes(data)
    np.testing.assert_array_equal(sound(path).samples, expected)


def test_pictures_and_sound_have_one_zero(tmp_path: Path) -> None:
    streams: list[Film | Track] = [
        Film(frames=noise(25), start=1.0),
        Track(samples=tone(440, 2.0)[None], codec="pcm_s16le"),
    ]
    path = write(tmp_path / "a.mkv", streams)
    video = pictures(path)
    np.testing.assert_allclose(video.curve_timestamp, 1.0 + np.arange(25) / 25, atol=2e-3)
    np.testing.assert_array_equal(video.timestamp, video.curve_timestamp[video.index])
    heard, seen = facts(path)
    assert (heard.start, seen.start) == pytest.approx((0.0, 1.0), abs=0.002)
    assert seen.seconds == pytest.approx(1.0, abs=0.002)
    alone = decode(path, audio=False).video
    assert not hasattr(alone, "reason")
    np.testing.assert_array_equal(alone.timestamp, video.timestamp)


PARTS = {
    "an hour forward.ts": ("0", "3600"),
    "back.ts": ("3600", "0"),
    "again from zero.ts": ("0", "0"),
    "there and back.ts": ("0", "3600", "0"),
    "past the 33 bits.ts": ("95441.5",),
    "into the 33 bits.ts": ("0", "95441.5"),
    "again from zero.mpg": ("0", "0"),
    "back.mpg": ("500", "0"),
    "again from zero.mkv": ("0", "0"),
}


def joined(path: Path, starts: tuple[str, ...], seconds: int = 3) -> Path:
    """Recordings of so many seconds whose clocks begin at ``starts``, one behind the other."""
    video, audio = ("mpeg1video", "mp2") if path.suffix == ".mpg" else ("libx264", "aac")
    parts = [
        write(
            path.with_name(f"{number}{path.suffix}"),
            [
                Film(frames=noise(25 * seconds), codec=video),
                Track(samples=tone(440, seconds)[None], codec=audio),
            ],
            output_ts_offset=start,
        )
        for number, start in enumerate(starts)
    ]
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


@pytest.mark.parametrize("name", PARTS)
def test_a_clock_that_jumps_is_followed(tmp_path: Path, name: str) -> None:
    path, count = joined(tmp_path / name, PARTS[name]), len(PARTS[name])
    decoded, video = decode(path), pictures(path)
    assert video.n_frames == 75 * count
    assert (np.diff(video.curve_timestamp) >= 0).all()
    assert video.curve_timestamp[-1] == pytest.approx(3 * count - 0.04, abs=0.1)
    assert isinstance(decoded.audio, Audio)
    assert decoded.audio.samples.size / RATE == pytest.approx(3 * count, abs=0.1)
    heard, seen = facts(path)
    assert (heard.damage, seen.damage) == ("", "")
    assert math.isnan(seen.declared_seconds) == (count > 1)
    alone = decode(path, video=False).audio
    assert isinstance(alone, Audio)
    np.testing.assert_array_equal(alone.samples, decoded.audio.samples)


@pytest.mark.parametrize("codec", ["libopus", "flac"])
def test_chained_ogg_is_heard_to_its_end(tmp_path: Path, codec: str) -> None:
    part = write(tmp_path / "part.ogg", [Track(samples=MONO, codec=codec)])
    (tmp_path / "a.ogg").write_bytes(part.read_bytes() * 2)
    assert sound(tmp_path / "a.ogg").samples.size / RATE == pytest.approx(2, abs=0.05)


def test_a_hole_of_less_than_ten_seconds_is_a_hole(tmp_path: Path) -> None:
    path = joined(tmp_path / "a.ts", ("0", "8"))
    audio, video = sound(path), pictures(path)
    assert audio.samples.size / RATE == pytest.approx(11, abs=0.1)
    assert np.abs(audio.samples[4 * RATE : 7 * RATE]).max() == 0
    assert np.diff(video.curve_timestamp).max() == pytest.approx(5, abs=0.2)
    assert facts(path)[0].gaps == pytest.approx(5, abs=0.1)


def test_the_cases(clip: Callable[[str], Path]) -> None:
    lost = sound(clip("lost.webm"))
    assert lost.samples.size / RATE == pytest.approx(20, abs=0.02)
    assert click(lost) == pytest.approx(19, abs=0.05)
    lead = pictures(clip("av_lead.mkv"))
    assert lead.curve_timestamp[40] == pytest.approx(2.62, abs=0.002)
    jump = pictures(clip("jump1000.ts"))
    assert jump.n_frames == 150
    assert (np.diff(jump.curve_timestamp) > 0).all()
    assert sound(clip("jump1000.ts")).samples.size / RATE == pytest.approx(6, abs=0.1)
    strict = DecodeOptions(strict=True)
    assert sound(clip("stale.mkv"), strict).samples.size / RATE == pytest.approx(3, abs=0.02)
    assert pictures(clip("stale.mkv"), strict).n_frames == 75
