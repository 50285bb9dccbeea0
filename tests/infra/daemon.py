"""A server's process, as long as a block, and what its commands print."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

STOP_SECONDS = 60


def program(name: str, package: str) -> str:
    """Where a program of one of Debian's packages is; without it, the test is skipped."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name}: apt-get install {package}")
    return found


def output(
    command: Sequence[str | Path],
    environment: Mapping[str, str],
    *,
    cwd: Path | None = None,
    seconds: float = 60,
) -> str:
    """What a command prints that ends well."""
    done = subprocess.run(
        list(map(str, command)),
        env=dict(environment),
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextlib.contextmanager
def daemon(
    command: Sequence[str | Path], folder: Path, environment: Mapping[str, str] = os.environ
) -> Iterator[None]:
    """Starts a server, whose log lies in the folder by its name, and asks it to end at last."""
    with (folder / f"{Path(command[0]).name}.log").open("wb") as log:
        process = subprocess.Popen(
            list(map(str, command)), env=dict(environment), cwd=folder, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
