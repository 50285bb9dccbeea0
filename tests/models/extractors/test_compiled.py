from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

LOAD = """
import time
import numba
from meldflow.models.extractors.registry import build
build(["audio/librosa"], {})[0].setup("cpu")
print(numba.config.CACHE_DIR)
print(time.process_time())
"""


def load(folder: Path) -> subprocess.Popen[str]:
    """A process that loads librosa's functions, with its caches in ``folder``."""
    environment = {**os.environ, "TMPDIR": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
    environment.pop("NUMBA_CACHE_DIR", None)
    command = [sys.executable, "-W", "ignore", "-c", LOAD]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def result(process: subprocess.Popen[str]) -> tuple[Path, float]:
    """The folder that the process compiled in, and its CPU time, seconds."""
    out, _ = process.communicate(timeout=240)
    assert process.returncode == 0
    folder, seconds = out.split()
    return Path(folder), float(seconds)


def published(folder: Path) -> dict[Path, bytes]:
    files = (folder / "cache" / "meldflow" / "numba").rglob("*.nb[ic]")
    return {file: file.read_bytes() for file in files}


@pytest.mark.slow
def test_processes_that_compile_at_once_do_not_meet(tmp_path: Path) -> None:
    """Sharing Numba's cache made every later process crash (``librosa.compiled``)."""
    folders, seconds = zip(
        *[result(process) for process in [load(tmp_path), load(tmp_path)]], strict=True
    )
    assert folders[0] != folders[1]
    assert all(folder.parent == tmp_path for folder in folders)
    assert min(seconds) < 0.5 * max(seconds)  # one of them waited for the other's
    first = published(tmp_path)
    assert first
    assert len({file.parents[1] for file in first}) == 1
    result(load(tmp_path))
    assert published(tmp_path) == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["cache"]
