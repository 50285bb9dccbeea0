"""A folder whose files bear our names, Prefect's and Dask's: nothing of it is ever imported."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meldflow.storage import open_store
from tests.flows.servers import Served, ask, extraction, until, up
from tests.paths import ROOT

MELDFLOW = str(Path(sys.executable).with_name("meldflow"))
STRANGERS = (
    *("models/__init__.py", "flows/__init__.py", "tasks.py", "storage.py", "deploy.py", "tests.py"),
    *("meldflow.py", "prefect.py", "dask.py", "distributed.py", "h2.py", "json.py", "numpy.py"),
    *("mlflow.py", "sitecustomize.py", "usercustomize.py"),
)
LINE = "open({log!r}, 'a').write(__file__ + chr(10))\nraise SystemExit('a stranger')\n"


@pytest.fixture(scope="module")
def folder(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the user stands: a data set, and a project of their own."""
    found = tmp_path_factory.mktemp("strangers")
    shutil.copytree(demo, found / "data")
    (found / "one.yaml").write_text("kind: local\nworkers: 1\n")
    for name in STRANGERS:
        (found / name).parent.mkdir(exist_ok=True)
        (found / name).write_text(LINE.format(log=str(found / "imported")))
    return found


@pytest.fixture(autouse=True)
def _none_is_imported(folder: Path) -> Iterator[None]:
    yield
    imported = folder / "imported"
    assert not imported.exists(), imported.read_text()


def environment() -> dict[str, str]:
    """What a user has: nothing of ours is set, nor of this checkout's tests."""
    ours = ("PREFECT_", "DASK_", "PYTHONSAFEPATH")
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    return inherited | {"PYTHONPATH": str(ROOT / "src"), "COLUMNS": "200"}


def run(*arguments: str, folder: Path) -> str:
    done = subprocess.run(
        [MELDFLOW, *arguments],
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


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with up(folder, "--workers", "1", command=(MELDFLOW,), environment=environment()) as running:
        yield running


def test_a_run_from_the_ui_completes(served: Served) -> None:
    run_id = served.start("extract", extraction(served.folder / "data", served.folder / "form"))
    assert served.finish(run_id) == "COMPLETED", served.logs(run_id)


def test_a_run_from_the_ui_is_cancelled_within_seconds(served: Served) -> None:
    run_id = served.start("extract", extraction(served.folder / "data", served.folder / "cancel"))
    until(lambda: "stale: " in served.logs(run_id), 90)
    ask(served.api, f"flow_runs/{run_id}/set_state", {"state": {"type": "CANCELLING"}})
    asked = time.monotonic()
    assert served.finish(run_id) == "CANCELLED", served.logs(run_id)
    assert time.monotonic() - asked < 45
    log = (served.folder / "home" / "logs" / "prefect-worker.log").read_text()
    assert "Traceback" not in log, log
