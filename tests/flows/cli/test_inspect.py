"""`meldflow inspect` as a user runs it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.flows import command
from tests.media import Film, Track, noise, tone, write

NAME = "Joey's \"how\nyou\" doin' ☃ [b].mp4"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("inspect")
    levels = [150 if one == 5 else 10 for one in range(12)]
    streams: list[Film | Track] = [
        Film(frames=noise(12, levels=levels)),
        Track(samples=tone(220, 0.5)[None]),
    ]
    write(path / NAME, streams)
    (path / "notes.txt").write_text("Oh my God!\n")
    return path


def test_json_is_all_that_goes_to_standard_output(folder: Path) -> None:
    done = command.run("inspect", NAME, "--json", "--text", "Hey.", "--png", "png", cwd=folder)
    shown = json.loads(done.stdout)
    assert shown["clip"] == NAME
    assert shown["frames_declared"] == shown["frames_decoded"] == 12
    assert shown["modalities"]["audio"]["f0_median"] == pytest.approx(220, rel=0.02)
    assert max(shown["chosen_frames"], key=lambda one: one["entropy"])["index"] == 5
    assert shown["features"]["text/minilm"]["embedding"]["shape"] == [384]
    assert {one.name for one in (folder / "png").iterdir()} == {
        "entropy.png",
        "frames.png",
        "sound.png",
    }


def test_the_screen_tells_the_facts_and_names_the_page(folder: Path) -> None:
    done = command.here("inspect", NAME, "--html", "pages/clip.html", cwd=folder)
    for part in ("Sound and pictures can be used", "h264", "48,000 Hz", "(10, 2048)", "no_text"):
        assert part in done.stdout
    assert "Joey's \"how\\nyou\" doin' ☃ [b].mp4" in done.stdout
    assert "wrote pages/clip.html" in done.stdout
    assert "<!doctype html>" in (folder / "pages" / "clip.html").read_text()


def test_a_file_that_is_no_clip_is_no_error(folder: Path) -> None:
    done = command.here("inspect", "notes.txt", cwd=folder)
    assert "Neither sound nor pictures can be used" in done.stdout
    assert "unreadable" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("none\n.mp4",), "no clip at none\\n.mp4"),
        ((".",), ". is not a file"),
        ((NAME, "--html", "notes.txt"), "must end in .html"),
        ((NAME, "--png", "notes.txt"), "notes.txt"),
    ],
)
def test_mistakes_end_in_one_line(folder: Path, arguments: tuple[str, ...], says: str) -> None:
    done = command.here("inspect", *arguments, cwd=folder, code=2)
    assert done.stdout == ""
    assert done.stderr.startswith("meldflow: ")
    assert says in done.stderr
    assert done.stderr.count("\n") == 1
    assert (folder / "notes.txt").read_text() == "Oh my God!\n"


def test_a_name_that_is_no_text_is_shown_none_the_less(folder: Path) -> None:
    name = b"na\xefve.mp4"
    (folder / os.fsdecode(name)).write_bytes(b"")
    done = command.here("inspect", os.fsdecode(name), "--json", "--html", "n.html", cwd=folder)
    assert os.fsencode(json.loads(done.stdout)["clip"]) == name
    assert "na\\udcefve.mp4" in (folder / "n.html").read_text()
