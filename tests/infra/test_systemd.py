"""The documented unit, under a real systemd: how it starts, is started again, and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psutil
import pytest

from meldflow.flows.serving.site.home import Home
from meldflow.flows.serving.site.http import answers
from tests.flows.command import MELDFLOW
from tests.infra.daemon import program
from tests.infra.systemd import open_manager
from tests.paths import IMPORTS, ROOT
from tests.proxy import free_port
from tests.rig import texts, wait_until, write_dataset

pytestmark = pytest.mark.infra

DOCUMENTED = "/opt/meldflow/.venv/bin/meldflow"
NAME = "meldflow.service"
TELL = """\
[Service]
ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS >> {file}'
"""
"""What systemd makes of each end: of a unit that ended well it forgets the exit code."""
PYTHON = str(Path(sys.executable).resolve())


def unit(folder: Path) -> str:
    """That of docs/serving.md, with paths and ports of this machine."""
    document = (ROOT / "docs" / "serving.md").read_text()
    text = document[document.index("[Unit]\n") :].partition("```")[0]
    assert DOCUMENTED in text
    ports = " ".join(
        f"{option} {free_port()}" for option in ("--port", "--scheduler-port", "--dashboard-port")
    )
    text = text.replace("/data", str(folder)).replace("MELD.Raw", "data.csv")
    return text.replace(f"{DOCUMENTED} up", f"{MELDFLOW[0]} up {ports} --workers 1")


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """Where a user puts it."""
    write_dataset(tmp_path / "data.csv", texts(2, milliseconds=1))
    file = tmp_path / ".config" / "systemd" / "user" / NAME
    file.parent.mkdir(parents=True)
    file.write_text(unit(tmp_path))
    return file


def test_the_unit_is_valid(installed: Path) -> None:
    # Sockets of units that are here anyway lie there, and their paths may not be long.
    with tempfile.TemporaryDirectory(dir="/tmp") as runtime:
        done = subprocess.run(
            [program("systemd-analyze", "systemd"), "verify", "--user", installed],
            env={**os.environ, "XDG_RUNTIME_DIR": runtime},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_it_is_started_again_and_ends_well(installed: Path, tmp_path: Path) -> None:
    home, ended = Home(tmp_path / "home"), tmp_path / "ended"
    (dropped := installed.with_name(f"{NAME}.d")).mkdir()
    (dropped / "tell.conf").write_text(TELL.format(file=ended))

    def processes(*words: str) -> list[psutil.Process]:
        """Those of the unit, the manager not among them."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = one.environ().get("MELDFLOW_HOME") == str(home.path)
                if ours and one.exe() == PYTHON and all(word in one.cmdline() for word in words):
                    found.append(one)
        return found

    def serving() -> bool:
        return answers(home.api) and bool(processes("worker", "start"))

    variables = {"MELDFLOW_HOME": str(home.path), "PYTHONPATH": IMPORTS}
    with open_manager(tmp_path, **variables) as manager:
        manager.ask("enable", "--now", NAME)
        assert manager.ask("is-enabled", NAME) == "enabled"
        wait_until(serving, 240, "it serves")
        first = set(processes())
        os.kill(int(manager.show(NAME, "MainPID")), signal.SIGKILL)
        wait_until(lambda: manager.show(NAME, "NRestarts") == "1", 60, "it is started again")
        wait_until(serving, 240, "it serves again")
        assert not first & set(processes())
        manager.ask("stop", NAME)
        assert manager.show(NAME, "ActiveState") == "inactive"
        assert ended.read_text().splitlines() == ["signal killed KILL", "success exited 130"]
        assert not processes()
