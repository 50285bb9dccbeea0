"""Clips for the benches."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.dataset import take_in
from meldflow.tasks.demo.dataset import synthesise_bench
from tests import media
from tests.bench.material import material, write_listed


def clips(folder: Path, number: int) -> Path:
    folder.mkdir()
    for i in range(number):
        sound = media.Track(samples=media.tone(200 + 50 * i, 0.3)[None])
        media.write(folder / f"c{i}.mp4", [sound])
        (folder / f"c{i}.txt").write_text(f"Line {i}.")
    return folder


def test_clips_are_spread_and_listed_again_each_as_a_file_of_its_own(tmp_path: Path) -> None:
    told: list[str] = []
    several = material(clips(tmp_path / "clips", 4), 2, tmp_path, told.append)
    assert [one.text for one in several] == ["Line 0.", "Line 2."]
    assert told == ["reading the clips"]
    table = tmp_path / "corpus.csv"
    write_listed(table, several, 5)
    found = take_in(table).utterances
    assert [one.text for one in found] == [f"Line {n}." for n in (0, 2, 0, 2, 0)]
    assert len({one.clip.path for one in found}) == 5
    assert len({one.clip.sha256 for one in found}) == 2
    assert min(one.clip.seconds for one in found) > 0.2


def test_a_folder_of_fewer_clips_gives_all(tmp_path: Path) -> None:
    assert len(material(clips(tmp_path / "clips", 3), 48, tmp_path, lambda _: None)) == 3


def test_a_folder_without_clips_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no sound or video file"):
        material(tmp_path, 3, tmp_path, lambda _: None)


def test_a_data_set_gives_the_clips_that_are_there(tmp_path: Path) -> None:
    synthesise_bench(tmp_path / "data", clips=2, seed=0, processes=1)
    next((tmp_path / "data").rglob("*.mp4")).unlink()
    (one,) = material(tmp_path / "data", 48, tmp_path, lambda _: None)
    assert one.clip.is_file()
    assert one.text


def test_clips_are_made_where_there_are_none_and_finished_where_that_was_stopped(
    tmp_path: Path,
) -> None:
    told: list[str] = []
    (one,) = material(tmp_path / "new", 1, tmp_path, told.append)
    assert told == ["making 1 clips", "making 1 clips: 1 made", "reading the clips"]
    assert one.clip.is_relative_to(tmp_path / "new")
    assert one.text
    mark = tmp_path / "new" / "synth.json"
    mark.write_text(mark.read_text().replace("true", "false"))
    one.clip.unlink()
    assert material(tmp_path / "new", 1, tmp_path, told.append) == (one,)
    assert material(tmp_path / "new", 1, tmp_path, lambda _: None) == (one,)
