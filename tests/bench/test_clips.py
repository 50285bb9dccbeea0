"""The data set to measure with: MELD's format and lengths."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import CLIP_FOLDERS
from meldflow.tasks.dataset import take_in
from meldflow.tasks.demo.broadcast import DEV_SECONDS, SPLIT, durations, write_broadcast
from meldflow.tasks.demo.dataset import SynthSummary, synthesise_bench
from tests.flows import command


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> SynthSummary:
    return synthesise_bench(tmp_path_factory.mktemp("bench") / "meld", clips=2, seed=0)


def clips_of(summary: SynthSummary) -> list[Path]:
    return sorted((summary.directory / CLIP_FOLDERS[SPLIT]).glob("*.mp4"))


def test_lengths_are_melds() -> None:
    lengths = durations(1000)
    assert lengths.mean() == pytest.approx(3.12, rel=0.04)
    for quantile, seconds in list(DEV_SECONDS.items())[1:-1]:
        assert np.quantile(lengths, quantile) == pytest.approx(seconds, rel=0.02)
    assert durations(48).mean() == pytest.approx(3.12, rel=0.04)


def test_seed_shuffles_lengths_and_words_but_adds_none() -> None:
    one, other = (write_broadcast(20, seed)[SPLIT] for seed in (1, 2))
    assert [line.text for line in one] != [line.text for line in other]
    assert [line.frames for line in one] != [line.frames for line in other]
    assert sorted(line.frames for line in one) == sorted(line.frames for line in other)
    assert len({(line.dialogue, line.utterance) for line in one}) == 20
    assert write_broadcast(20, 1)[SPLIT] == one


def test_longer_clips_have_more_words() -> None:
    lines = sorted(write_broadcast(40, 0)[SPLIT], key=lambda line: line.frames)
    words = [len(line.text.split()) for line in lines]
    assert sum(words[:10]) < sum(words[-10:]) / 2


def test_clips_are_in_melds_format(bench: SynthSummary) -> None:
    lines = write_broadcast(2, 0)[SPLIT]
    assert bench.clips == len(clips_of(bench)) == 2
    for path, line in zip(clips_of(bench), lines, strict=True):
        with av.open(str(path)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.width, video.height) == (1280, 720)
            assert (video.codec_context.name, video.codec_context.profile) == ("h264", "High")
            assert video.codec_context.has_b_frames
            assert video.average_rate == line.rate
            assert (audio.codec_context.name, audio.rate, audio.channels) == ("aac", 48_000, 2)
            assert 1.0e6 < video.bit_rate < 2.2e6
            assert sum(1 for _ in container.decode(video)) == line.frames


def test_rows_name_their_clips(bench: SynthSummary) -> None:
    taken = take_in(bench.directory)
    assert [one.clip.path for one in taken.utterances] == [str(p) for p in clips_of(bench)]
    assert not taken.findings


def test_finished_data_set_is_reused(bench: SynthSummary) -> None:
    before = {path: path.stat().st_mtime_ns for path in bench.directory.rglob("*")}
    again = synthesise_bench(bench.directory, clips=2, seed=0)
    assert again.reused
    assert (again.clips, again.size, again.seconds) == (bench.clips, bench.size, bench.seconds)
    assert {path: path.stat().st_mtime_ns for path in bench.directory.rglob("*")} == before
    told = command.run("synth", bench.directory, "--bench", "--clips", "2", "--json", cwd=Path())
    assert json.loads(told.stdout)["reused"]


@pytest.mark.parametrize(("clips", "seed"), [(3, 0), (2, 1)])
def test_folder_of_another_data_set_is_refused(bench: SynthSummary, clips: int, seed: int) -> None:
    with pytest.raises(UsageError, match="not empty"):
        synthesise_bench(bench.directory, clips=clips, seed=seed)


@pytest.mark.parametrize(("clips", "seed"), [(0, 0), (2, -1)])
def test_senseless_parameters(tmp_path: Path, clips: int, seed: int) -> None:
    with pytest.raises(UsageError, match=r"at least one|negative"):
        synthesise_bench(tmp_path / "bench", clips=clips, seed=seed)
    assert not (tmp_path / "bench").exists()


@pytest.mark.parametrize(
    "arguments", [("--bench", "--dialogues", "4"), ("--clips", "4")], ids=" ".join
)
def test_a_demo_has_dialogues_and_a_bench_clips(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    told = command.run("synth", tmp_path / "x", *arguments, cwd=tmp_path, code=2)
    assert "--bench" in told.stderr
    assert len(told.stderr.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())
