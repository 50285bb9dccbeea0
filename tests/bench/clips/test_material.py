"""Clips for the benches."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.dataset import take_in
from tests import media
from tests.bench.clips.corpora import write_listed
from tests.bench.clips.material import material


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
