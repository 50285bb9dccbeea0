from __future__ import annotations

import json

import pytest

from tests.bench import reading


def test_all_ways_read_the_same_frames(capsys: pytest.CaptureFixture[str]) -> None:
    reading.main(["--utterances", "70", "--rounds", "2", "--json"])
    printed = json.loads(capsys.readouterr().out)
    read = {name: {one["megabytes"] for one in costs} for name, costs in printed["rounds"].items()}
    assert set(read) == set(reading.WAYS)
    frames = sum(max(1, int(one.clip.seconds * 50)) for one in reading.utterances(70))
    assert set().union(*read.values()) == {frames * reading.WIDTH * 2 / 1e6}
    assert set(printed["cpu_ratio"]) == {random for random, _ in reading.PAIRS}


def test_the_table_has_a_line_per_way_and_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    reading.main(["--utterances", "3", "--rounds", "1"])
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(reading.WAYS) + len(reading.PAIRS)
