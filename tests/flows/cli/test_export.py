"""`meldflow export`: what it writes, what it says, and its mistakes in one line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import xarray as xr

from meldflow.flows.cli import main
from meldflow.models.schema.features import FeatureSpec
from meldflow.models.schema.utterances import Utterance
from meldflow.storage import open_store
from meldflow.storage.writing.transaction import open_run
from tests.storage.corpus import corpus, extract_all, pictures_spec, voice_spec, words_spec

SPECS = (voice_spec(), pictures_spec(), words_spec())


def extract(store: Path, utterances: list[Utterance], specs: tuple[FeatureSpec, ...]) -> None:
    with open_run(str(store), specs, partition=4) as run:
        extract_all(run, utterances, specs)
        run.publish()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Seven utterances, of which one is silent and the last has left."""
    path = tmp_path_factory.mktemp("export") / "store"
    utterances = corpus(7)
    utterances[4] = replace(utterances[4], text="silent")
    extract(path, utterances, SPECS)
    extract(path, utterances[:-1], SPECS)
    return path


def meldflow(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    """Runs a command in this process and gives its exit code."""
    monkeypatch.setattr(sys, "argv", ["meldflow", *map(str, arguments)])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        main.main()
    return int(stopped.value.code or 0)


def test_it_says_what_it_wrote_and_what_is_missing(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "my exports" / "zarr"
    assert meldflow(monkeypatch, "export", store, "--format", "zarr", "--to", target) == 0
    shown = capsys.readouterr().out
    assert open_store(str(store)).id in shown
    assert "silent 1" in shown
    assert "note: RANDOM WEIGHTS: the features of video/pictures mean nothing" in shown
    assert "left out: 1 utterances, no longer in the data set" in shown
    assert f"6 utterances, 0.1 MiB, as zarr in {target}" in shown
    record = json.loads((target / "provenance.json").read_text(encoding="utf-8"))
    assert record["command"] == f"meldflow export {store} --format zarr --to '{target}'"
    voice = xr.open_zarr(target, group="audio/voice")
    assert voice["status"].to_numpy().tolist() == ["ok"] * 4 + ["failed", "ok"]


def test_json_of_a_pinned_snapshot(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = open_store(str(store)).id
    only = ("--only", "audio/voice", "--only", "text/words")
    options = ("--ref", pinned, "--complete", "--json", *only)
    target = tmp_path / "p"
    assert (
        meldflow(monkeypatch, "export", store, "--format", "parquet", "--to", target, *options) == 0
    )
    report = json.loads(capsys.readouterr().out)
    assert (report["snapshot"], report["utterances"]) == (pinned, 5)
    assert list(report["extractors"]) == ["audio/voice", "text/words"]
    assert sum(report["left_out"].values()) == 2
    files = [one.stat().st_size for one in target.rglob("*.parquet")]
    assert (len(files), report["n_bytes"]) == (3, sum(files))


def test_mmsa_says_what_its_zeros_are(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "meld.pkl"
    assert meldflow(monkeypatch, "export", store, "--format", "mmsa", "--to", target) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "missing features are zeros of length 0, listed in the provenance: audio 1" in shown
    assert (tmp_path / "meld.pkl.provenance.json").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--format", "csv", "--to", "e"), "format 'csv': there are zarr"),
        (("--format", "zarr", "--to", "e", "--ref", "v9"), "no branch, tag or snapshot"),
        (("--format", "zarr", "--to", "e", "--only", "audio/none"), "not 'audio/none'"),
        (("--format", "zarr", "--to", "there"), "it exists"),
        (("--format", "mmsa", "--to", "e", "--only", "audio/voice"), "of text there is none"),
    ],
)
def test_mistakes_end_in_one_line(
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    says: str,
) -> None:
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)
    assert meldflow(monkeypatch, "export", store, *arguments) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert (said.err.count("\n"), said.out) == (1, "")
    assert [one.name for one in tmp_path.iterdir()] == ["there"]


def test_a_store_that_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "e"
    assert meldflow(monkeypatch, "export", tmp_path / "no", "--format", "zarr", "--to", target) == 2
    assert "no store is here" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
