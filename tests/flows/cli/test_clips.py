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
from tests.media import Film, Track, noise, tone, write

ONLY = ("--only", "audio/librosa", "--only", "text/minilm", "--max-failure-rate", "1", "--json")
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
    good(clips / "no words.mp4")
    (clips / "broken.mp4").write_bytes(b"\0" * 500)
    part = write(base / "part.ts", [Track(samples=tone(220, 60.0)[None], codec="mp2")])
    (clips / "endless.ts").write_bytes(part.read_bytes() * 60)
    return base


def extract(folder: Path, api: str) -> dict[str, Any]:
    arguments = ("extract", "--clips", "my clips", "--store", "store", *ONLY)
    limits = ("--clip-timeout", "1", "--max-seconds", "100000")
    done = command.run(*arguments, *limits, cwd=folder, api=api)
    assert "Traceback" not in done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def test_a_folder_of_clips(folder: Path, api: str) -> None:
    report = extract(folder, api)
    assert report["utterances"] == 5
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

    again = extract(folder, api)
    assert again["extracted"] == {}
    good(folder / "my clips" / "another.mp4")
    (folder / "my clips" / "no words.txt").write_text("Now it has some.", encoding="utf-8")
    third = extract(folder, api)
    assert third["extracted"] == {"audio/librosa": 1, "text/minilm": 1}
    assert open_store(str(folder / "store")).row("clips/another") == 5

    clips_are_listed_with_those_that_could_not_be_read(folder)
    another_value_of_a_parameter_is_another_key(folder)


def clips_are_listed_with_those_that_could_not_be_read(folder: Path) -> None:
    store = str(folder / "store")
    done = CliRunner().invoke(app, ["clips", store], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.exception
    (broken,) = [line for line in done.stdout.splitlines() if "clips/broken" in line]
    assert not set(broken.replace("clips/broken", "")) - set("│ ")
    assert "Hz" in done.stdout


def another_value_of_a_parameter_is_another_key(folder: Path) -> None:
    clips, store = str(folder / "my clips"), str(folder / "store")
    where = ("--clips", clips, "--store", store, "--max-seconds", "100000")
    plans = {}
    for value in ("autocorrelation", "pyin"):
        setting = ("--set", f"audio/librosa.f0={value}", "--only", "audio/librosa", "--json")
        done = CliRunner().invoke(app, ["plan", *where, *setting])
        assert done.exit_code == 0, done.exception
        plans[value] = json.loads(done.stdout)["extractors"]
    assert plans == {"autocorrelation": {}, "pyin": {"audio/librosa": {"extractor changed": 6}}}
