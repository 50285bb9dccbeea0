"""The data set to measure with: MELD's format and lengths."""

from __future__ import annotations

import shutil
from pathlib import Path

import av
import numpy as np
import pytest

from meldflow.models.schema.utterances import CLIP_FOLDERS
from meldflow.tasks.dataset import take_in
from tests.bench.clips.broadcast import DEV_SECONDS, SPLIT, durations, make_clips, write_broadcast
from tests.bench.clips.material import material


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "meld"
    told: list[str] = []
    several = material(folder, 2, folder.parent, told.append)
    made = [f"making 2 clips: {n} made" for n in (1, 2)]
    assert told == ["making 2 clips", *made, "reading the clips"]
    assert [one.clip for one in several] == clips_of(folder)
    assert all(one.text for one in several)
    return folder


def clips_of(folder: Path) -> list[Path]:
    return sorted((folder / CLIP_FOLDERS[SPLIT]).glob("*.mp4"))


def test_lengths_are_melds() -> None:
    lengths = durations(1000)
    assert lengths.mean() == pytest.approx(3.12, rel=0.04)
    for quantile, seconds in list(DEV_SECONDS.items())[1:-1]:
        assert np.quantile(lengths, quantile) == pytest.approx(seconds, rel=0.02)
    assert durations(48).mean() == pytest.approx(3.12, rel=0.04)


def test_seed_shuffles_lengths_and_words_but_adds_none() -> None:
    one, other = (write_broadcast(20, seed) for seed in (1, 2))
    assert [line.text for line in one] != [line.text for line in other]
    assert [line.frames for line in one] != [line.frames for line in other]
    assert sorted(line.frames for line in one) == sorted(line.frames for line in other)
    assert len({(line.dialogue, line.utterance) for line in one}) == 20
    assert write_broadcast(20, 1) == one


def test_longer_clips_have_more_words() -> None:
    lines = sorted(write_broadcast(40, 0), key=lambda line: line.frames)
    words = [len(line.text.split()) for line in lines]
    assert sum(words[:10]) < sum(words[-10:]) / 2


@pytest.mark.slow
def test_clips_are_in_melds_format(bench: Path) -> None:
    lines = write_broadcast(2, 0)
    assert len(clips_of(bench)) == 2
    for path, line in zip(clips_of(bench), lines, strict=True):
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.width, video.height) == (1280, 720)
            assert (video.codec_context.name, video.codec_context.profile) == ("h264", "High")
            assert video.codec_context.has_b_frames
            assert video.average_rate == line.rate
            assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 48_000, 2)
            assert 1.0e6 < (video.bit_rate or 0) < 2.2e6
            assert sum(1 for _ in container.decode(video)) == line.frames


@pytest.mark.slow
def test_rows_name_their_clips(bench: Path) -> None:
    taken = take_in(bench)
    assert [one.clip.path for one in taken.utterances] == [str(p) for p in clips_of(bench)]
    assert not taken.findings


@pytest.mark.slow
def test_a_data_set_gives_the_clips_that_are_there(bench: Path, tmp_path: Path) -> None:
    shutil.copytree(bench, tmp_path / "data")
    missing, there = clips_of(tmp_path / "data")
    missing.unlink()
    (one,) = material(tmp_path / "data", 48, tmp_path, lambda _: None)
    assert one.clip == there


@pytest.mark.slow
def test_what_was_stopped_goes_on(bench: Path, tmp_path: Path) -> None:
    shutil.copytree(bench, tmp_path / "meld.part2")
    first, second = clips_of(tmp_path / "meld.part2")
    before = second.read_bytes()
    second.unlink()
    first.write_bytes(b"left as it is")
    make_clips(tmp_path / "meld", 2, 0, lambda: None)
    assert [path.name for path in tmp_path.iterdir()] == ["meld"]
    one, other = clips_of(tmp_path / "meld")
    assert (one.read_bytes(), other.read_bytes()) == (b"left as it is", before)
