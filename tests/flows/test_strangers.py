"""Commands in a folder of strangers import nothing of it; ``meldflow up``: ``test_up``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from meldflow.storage import open_store
from tests.flows.command import MELDFLOW
from tests.flows.strangers import environment, settle


@pytest.fixture(scope="module")
def folder(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the user stands: a data set, and a project of their own."""
    found = tmp_path_factory.mktemp("strangers")
    shutil.copytree(demo, found / "data")
    (found / "one.yaml").write_text("kind: local\nworkers: 1\n")
    settle(found)
    return found


@pytest.fixture(autouse=True)
def _none_is_imported(folder: Path) -> Iterator[None]:
    yield
    imported = folder / "imported"
    assert not imported.exists(), imported.read_text()


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [*MELDFLOW, *arguments],
        cwd=folder,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_strangers_are_imported_where_nobody_minds(folder: Path) -> None:
    program = [sys.executable, "-c", "import tasks"]
    subprocess.run(program, cwd=folder, env=environment(), check=False, capture_output=True)
    (folder / "imported").unlink()  # which is there: the other tests can fail


def test_a_clip_is_looked_into(folder: Path) -> None:
    clip = next((folder / "data").rglob("*.mp4"))
    assert "audio/librosa" in run("inspect", str(clip), "--json", folder=folder)


def test_clips_are_extracted(folder: Path) -> None:
    clips = ("--clips", "data", "--only", "audio/librosa", "--cluster", "one.yaml")
    run("extract", *clips, "--store", "store", folder=folder)
    assert not open_store(str(folder / "store")).is_empty


@pytest.mark.slow
def test_a_model_is_trained_and_tracked(folder: Path) -> None:
    run("extract", "data", "--store", "labelled", "--only", "audio/librosa", folder=folder)
    quick = ("--epochs", "1", "--seeds", "1", "--modalities", "audio")
    run("train", "labelled", "--report", "report", *quick, folder=folder)
    assert (folder / "report" / "index.html").exists()
