"""`meldflow extract --clips DIR`: a plain folder of clips, through the same path."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from meldflow.flows.cli import main  # noqa: F401
from meldflow.flows.cli.app import app
from meldflow.storage import open_store
from tests.flows import command
from tests.flows.servers import Workers
from tests.media import Film, Track, noise, tone, write

ONLY = ("--only", "audio/librosa", "--only", "text/minilm")
SECONDS = 1.0


def good(path: Path) -> Path:
    return write(path, [Film(frames=noise(25)), Track(samples=tone(220, SECONDS)[None])])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three usable clips, one without words, one that is none, one that takes too long."""
    base = tmp_path_factory.mktemp("clips")
    clips = base / "my clips"
    (clips / "session 1").mkdir(parents=True)
    good(clips / "angry.mp4")
    (clips / "angry.txt").write_text("Get out!\n", encoding="utf-8")
    good(clips / "session 1" / "it’s “fine”.mkv")
    (clips / "angry.jpg").write_bytes(b"")
    good(clips / "no words.mp4")
    (clips / "broken.mp4").write_bytes(b"\0" * 500)
    part = write(base / "part.ts", [Track(samples=tone(220, 60.0)[None], codec="mp2")])
    (clips / "endless.ts").write_bytes(part.read_bytes() * 60)
    return base


def plan(folder: Path, *more: str) -> dict[str, Any]:
    """What the next run would do, whose intake is the run's."""
    where = ("--clips", str(folder / "my clips"), "--store", str(folder / "store"))
    limits = ("--max-seconds", "100000", "--json")
    done = CliRunner().invoke(app, ["plan", *where, *limits, *more])
    assert done.exit_code == 0, done.exception
    assert "left out, image/jpeg by its name: " in done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_a_folder_of_clips(folder: Path, api: str, workers: Workers) -> None:
    arguments = ("extract", "--clips", "my clips", "--store", "store", *ONLY, "--json")
    limits = ("--clip-timeout", "1", "--max-seconds", "100000", "--max-failure-rate", "1")
    on = ("--cluster", workers.profile)
    done = command.run(*arguments, *limits, *on, cwd=folder, api=api)
    assert "Traceback" not in done.stderr
    report = json.loads(done.stdout)
    assert report["utterances"] == 5
    assert report["left_out"] == [f"image/jpeg by its name: {folder / 'my clips/angry.jpg'}"]
    store = open_store(str(folder / "store"))
    reasons = {(one.id, one.extractor): one.reason for one in store.failures()}
    texts = {f"clips/{name}" for name in ("broken", "endless", "no words", "session 1/it’s “fine”")}
    assert reasons == {(name, "text/minilm"): "no_text" for name in texts} | {
        ("clips/broken", "audio/librosa"): "unreadable",
        ("clips/endless", "audio/librosa"): "timeout",
    }
    frames = store.frames("audio/librosa", "frames", "clips/session 1/it’s “fine”")
    assert len(frames) == pytest.approx(SECONDS * 50, abs=2)
    assert store.clips().loc["clips/angry", "audio_seconds"] == pytest.approx(SECONDS, abs=0.05)

    clips_are_listed_with_those_that_could_not_be_read(folder)
    another_value_of_a_parameter_is_another_key(folder)
    a_second_run_takes_what_is_new_and_no_more(folder)


def a_second_run_takes_what_is_new_and_no_more(folder: Path) -> None:
    assert plan(folder, *ONLY)["extractors"] == {}
    good(folder / "my clips" / "another.mp4")
    (folder / "my clips" / "angry.wav").write_bytes(b"")  # which does not rename angry.mp4
    (folder / "my clips" / "no words.txt").write_text("Now it has some.", encoding="utf-8")
    second = plan(folder, *ONLY)
    assert {name: sum(why.values()) for name, why in second["extractors"].items()} == {
        "audio/librosa": 2,
        "text/minilm": 3,
    }
    assert second["catalogue"] == {"appended": 2, "changed": 1, "removed": 0, "unchanged": 4}


def clips_are_listed_with_those_that_could_not_be_read(folder: Path) -> None:
    store = str(folder / "store")
    done = CliRunner().invoke(app, ["clips", store], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.exception
    (broken,) = [line for line in done.stdout.splitlines() if "clips/broken" in line]
    assert not set(broken.replace("clips/broken", "")) - set("│ ")
    assert "Hz" in done.stdout


def another_value_of_a_parameter_is_another_key(folder: Path) -> None:
    plans = {}
    for value in ("autocorrelation", "pyin"):
        setting = ("--set", f"audio/librosa.f0={value}", "--only", "audio/librosa")
        plans[value] = plan(folder, *setting)["extractors"]
    assert plans == {"autocorrelation": {}, "pyin": {"audio/librosa": {"extractor changed": 5}}}
