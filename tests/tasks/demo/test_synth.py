"""The demo data set as a whole: tree, annotations, determinism, resumption, errors."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import av
import imageio_ffmpeg
import pytest

from meldflow.models.schema.errors import MeldflowError, UsageError
from meldflow.models.schema.utterances import CLIP_FOLDERS, EMOTIONS
from meldflow.tasks.demo import clip, dataset
from meldflow.tasks.demo.dataset import SynthSummary, synthesise
from meldflow.tasks.demo.script import COLUMNS, SENTIMENTS, clock


def digest(directory: Path) -> dict[str, str]:
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def read_rows(directory: Path, split: str) -> list[dict[str, str]]:
    with (directory / f"{split}_sent_emo.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def to_seconds(text: str) -> float:
    hours, minutes, rest = text.split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(rest.replace(",", "."))


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> SynthSummary:
    directory = tmp_path_factory.mktemp("demo") / "meld"
    return synthesise(directory, dialogues=3, seed=12, processes=2)


def test_tree_has_meld_names_and_nothing_else(demo: SynthSummary) -> None:
    expected = {"synth.json"} | {f"{split}_sent_emo.csv" for split in CLIP_FOLDERS}
    for split, folder in CLIP_FOLDERS.items():
        for row in read_rows(demo.directory, split):
            name = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4"
            expected.add(f"{folder}/{name}")
    assert set(digest(demo.directory)) == expected


def test_summary_agrees_with_the_files(demo: SynthSummary) -> None:
    clips = list(demo.directory.rglob("*.mp4"))
    assert demo.clips == len(clips) == sum(split.rows for split in demo.splits.values())
    assert demo.size == sum(path.stat().st_size for path in clips)
    assert not demo.reused
    for split, told in demo.splits.items():
        counts = Counter(row["Emotion"] for row in read_rows(demo.directory, split))
        assert {name: count for name, count in told.emotions.items() if count} == dict(counts)
        assert tuple(told.emotions) == EMOTIONS


@pytest.mark.parametrize("split", CLIP_FOLDERS)
def test_annotations_are_in_melds_format(demo: SynthSummary, split: str) -> None:
    raw = (demo.directory / f"{split}_sent_emo.csv").read_bytes()
    assert raw.endswith(b"\r\n")
    assert raw.count(b"\n") == raw.count(b"\r\n")
    assert raw.decode("utf-8").splitlines()[0] == ",".join(COLUMNS)
    rows = read_rows(demo.directory, split)
    assert [int(row["Sr No."]) for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert row["Utterance"].strip()
        assert "'" not in row["Utterance"]
        assert row["Sentiment"] in SENTIMENTS[row["Emotion"]]
        assert re.fullmatch(r"\d{1,2}:\d\d:\d\d,\d{3}", row["StartTime"])


@pytest.mark.parametrize("split", CLIP_FOLDERS)
def test_clips_decode_and_last_as_long_as_annotated(demo: SynthSummary, split: str) -> None:
    for row in read_rows(demo.directory, split):
        name = f"dia{row['Dialogue_ID']}_utt{row['Utterance_ID']}.mp4"
        annotated = to_seconds(row["EndTime"]) - to_seconds(row["StartTime"])
        with av.open(str(demo.directory / CLIP_FOLDERS[split] / name)) as container:
            video, audio = container.streams.video[0], container.streams.audio[0]
            assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
            assert (video.width, video.height) == (320, 240)
            assert audio.rate == 48_000
            assert audio.channels in (2, 6)
            assert container.metadata.get("creation_time") is None
            frames = sum(1 for _ in container.decode(video=0))
            container.seek(0)
            samples = sum(frame.samples for frame in container.decode(audio=0))
        assert frames / float(video.average_rate or 0) == pytest.approx(annotated, abs=0.002)
        assert samples / 48_000 == pytest.approx(annotated, abs=0.05)


def test_number_of_processes_changes_no_byte(demo: SynthSummary, tmp_path: Path) -> None:
    synthesise(tmp_path, dialogues=3, seed=12, processes=1)
    assert digest(tmp_path) == digest(demo.directory)


def test_finished_demo_is_reused(demo: SynthSummary) -> None:
    before = {path: path.stat().st_mtime_ns for path in demo.directory.rglob("*")}
    again = synthesise(demo.directory, dialogues=3, seed=12)
    assert again.reused
    assert (again.clips, again.size, again.splits) == (demo.clips, demo.size, demo.splits)
    assert {path: path.stat().st_mtime_ns for path in demo.directory.rglob("*")} == before


@pytest.mark.parametrize(("dialogues", "seed"), [(3, 5), (4, 12)])
def test_folder_of_another_demo_is_refused(demo: SynthSummary, dialogues: int, seed: int) -> None:
    with pytest.raises(UsageError, match="not empty"):
        synthesise(demo.directory, dialogues=dialogues, seed=seed)


def test_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        synthesise(tmp_path, dialogues=3, seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("mark", ["[]", "{broken", '{"complete": true}'])
def test_foreign_mark_is_refused(tmp_path: Path, mark: str) -> None:
    (tmp_path / "synth.json").write_text(mark)
    with pytest.raises(UsageError, match="not empty"):
        synthesise(tmp_path, dialogues=3, seed=0)


def test_interrupted_demo_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Path] = []

    def make(line: object, seed: int, path: Path) -> None:
        if len(made) == 5:
            raise KeyboardInterrupt
        path.write_bytes(b"clip")
        made.append(path)

    monkeypatch.setattr(dataset, "make_clip", make)
    with pytest.raises(KeyboardInterrupt):
        synthesise(tmp_path, dialogues=3, seed=12, processes=1)
    assert json.loads((tmp_path / "synth.json").read_text())["complete"] is False
    first, made = made, []
    monkeypatch.setattr(dataset, "make_clip", lambda line, seed, path: make_rest(path))

    def make_rest(path: Path) -> None:
        path.write_bytes(b"clip")
        made.append(path)

    summary = synthesise(tmp_path, dialogues=3, seed=12, processes=1)
    assert len(first) == 5
    assert len(made) == summary.clips - 5
    assert not set(first) & set(made)
    assert json.loads((tmp_path / "synth.json").read_text())["complete"] is True


def test_failure_of_ffmpeg_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\necho first >&2\necho 'no such codec' >&2\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setattr(clip, "_ffmpeg", lambda: str(broken))
    target = tmp_path / "demo"
    with pytest.raises(MeldflowError, match=r"ffmpeg failed on .*mp4: no such codec$"):
        synthesise(target, dialogues=3, seed=0, processes=1)
    assert not list(target.rglob("*.mp4"))
    assert not [path for path in target.rglob("*") if path.suffix in (".pcm", ".rgb")]


def test_missing_ffmpeg_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing() -> str:
        raise RuntimeError("none")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", nothing)
    with pytest.raises(MeldflowError, match="no ffmpeg"):
        synthesise(tmp_path, dialogues=3, seed=0, processes=1)


def test_file_in_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        synthesise(tmp_path / "file", dialogues=3, seed=0)
    with pytest.raises(UsageError, match=re.escape(str(tmp_path / "file"))):
        synthesise(tmp_path / "file" / "below", dialogues=3, seed=0)


def test_full_disk_names_the_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UsageError, match=r"cannot write .*mp4: No space left"):
        synthesise(tmp_path / "demo", dialogues=3, seed=0, processes=1)


@pytest.mark.parametrize(
    ("seconds", "long_hours", "text"),
    [
        (976.059, True, "00:16:16,059"),
        (644.769, False, "0:10:44,769"),
        (59.9996, True, "00:01:00,000"),
        (3600.5, False, "1:00:00,500"),
    ],
)
def test_clock(seconds: float, long_hours: bool, text: str) -> None:
    assert clock(seconds, long_hours=long_hours) == text
