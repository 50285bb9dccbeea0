"""The benches of real extraction, on two tiny clips."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests import media
from tests.bench.measured import limit, samples
from tests.bench.screen import show
from tests.bench.sections import SECTIONS
from tests.bench.stages import DECODE, ENCODE, PARTS, REST
from tests.flows import command


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    for number in range(2):
        film = media.Film(frames=media.noise(15, seed=number))
        sound = media.Track(samples=media.tone(300 + 100 * number, 0.6)[None])
        media.write(folder / f"c{number}.mp4", [film, sound])
    return folder


@pytest.mark.slow
def test_stages_and_floor_are_measured_in_one_run(clips: Path, tmp_path: Path) -> None:
    given = ("--clips", "2", "--partition", "2", "--precision", "fp32", "--json")
    done = command.run("bench", "limit", clips, *given, cwd=tmp_path)
    found = json.loads(done.stdout)
    job = found["stages"]["precisions"]["fp32"]
    assert (job["few"]["utterances"], job["many"]["utterances"]) == (2, 6)
    assert set(job["cpu_ms_per_clip"]) == set(PARTS) == {DECODE, *ENCODE, *REST}
    spent = job["many"]["cpu_seconds"]
    assert min(spent[part] for part in PARTS) > 0
    assert job["total_ms"] == pytest.approx(sum(job["cpu_ms_per_clip"].values()), abs=0.1)
    one = found["precisions"]["fp32"]
    assert one["multiple"] == pytest.approx(one["ours_ms"] / one["floor_ms"], abs=0.01)
    assert one["parts"]["video/resnet50"]["floor_ms"] > 0
    assert one["parts"]["audio/librosa"]["multiple"] is None
    fastest = max(rate["gflop_per_second"] for rate in found["rates"])
    assert one["best"]["gflop_per_second"] == fastest
    assert found["measured"]["hardware"]["cores"] >= 1
    assert [path.name for path in tmp_path.iterdir()] == ["clips"]


def test_a_precision_that_is_not_there_is_refused_at_once(clips: Path, tmp_path: Path) -> None:
    done = command.run("bench", "stages", clips, "--precision", "fp4", cwd=tmp_path, code=2)
    assert "precision 'fp4'" in done.stderr
    assert "fp32" in done.stderr


@pytest.mark.parametrize("name", samples())
def test_every_bench_shows_how_to_read_it_and_its_figures(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(name, samples()[name], as_json=False)
    shown = capsys.readouterr().out
    assert "┃" in shown
    (section,) = (one for one in SECTIONS if one.name == name)
    assert " ".join(shown.split()).startswith(section.about)


def test_the_tables_show_the_share_and_the_multiple(capsys: pytest.CaptureFixture[str]) -> None:
    found = limit()
    show("stages", found.job.to_json(), as_json=False)
    show("limit", found.to_json(), as_json=False)
    shown = " ".join(capsys.readouterr().out.split())
    for words in (
        "decode",
        "their share │ 54.5%",
        "OpenVINO is not installed: these are torch's kernels alone",
        "core-seconds per clip, 5.54 times the floor of 0.020",
    ):
        assert words in shown
    show("limit", found.to_json(), as_json=True)
    assert json.loads(capsys.readouterr().out)["precisions"]["fp32"]["multiple"] == 5.54
