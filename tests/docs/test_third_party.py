"""An extractor of somebody else, from its own folder to features in a store."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from meldflow.storage import open_store
from tests.flows import command
from tests.media import Track, tone, write
from tests.paths import ROOT

PACKAGE = ROOT / "docs" / "examples" / "loudness"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with the package in it, on the path of every child."""
    target = tmp_path / "site"
    shutil.copytree(PACKAGE, tmp_path / "package")  # building leaves nothing in the checkout
    subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps"),
            *("--python", sys.executable, "--target", target, tmp_path / "package"),
        ],
        check=True,
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((os.environ["PYTHONPATH"], str(target))))
    return target


def test_it_is_installed_extracts_and_passes_its_own_tests(installed: Path, tmp_path: Path) -> None:
    clips, store = tmp_path / "clips", tmp_path / "store"
    clips.mkdir()
    for name, seconds in (("long", 1.0), ("short", 0.2)):
        write(clips / f"{name}.mp4", [Track(samples=tone(997, seconds)[None])])
    (tmp_path / "one.yaml").write_text("kind: local\nworkers: 1\n")
    command.run(
        *("extract", "--clips", clips, "--store", store, "--only", "audio/loudness"),
        *("--max-failure-rate", "1", "--cluster", "one.yaml"),
        cwd=tmp_path,
    )
    snapshot = open_store(str(store))
    values, mask = snapshot.features("audio/loudness", "whole")
    assert mask.tolist() == [True, False]
    assert values[0] == pytest.approx(-9.3, abs=0.5)  # half of full scale
    assert snapshot.frames("audio/loudness", "blocks", "clips/long").shape == (7,)

    package = str(tmp_path / "package")
    own = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", package]
    subprocess.run(own, check=True, cwd=tmp_path)
