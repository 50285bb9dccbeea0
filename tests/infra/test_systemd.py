"""The documented unit, under a real systemd: how it starts, is started again, and ends."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from meldflow.flows.serving.site.home import Home
from meldflow.flows.serving.site.http import answers
from meldflow.storage import open_store
from tests import fragile
from tests.flows.command import MELDFLOW
from tests.flows.servers import OVER, ask, records
from tests.infra.daemon import program
from tests.infra.systemd import Manager, open_manager
from tests.paths import IMPORTS, ROOT
from tests.proxy import free_port
from tests.rig import committed, texts, wait_until, write_dataset

pytestmark = pytest.mark.infra

DOCUMENTED = "/opt/meldflow/.venv/bin/meldflow"
NAME = "meldflow.service"
TELL = """\
[Service]
ExecStopPost=/bin/sh -c 'echo $$SERVICE_RESULT $$EXIT_CODE $$EXIT_STATUS >> {file}'
"""
"""What systemd makes of each end: of a unit that ended well it forgets the exit code."""
PYTHON = str(Path(sys.executable).resolve())
SLOW = "text/letters"
"""An extractor that takes as long as its text says."""


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


class Installed:
    """The unit under a manager of its own."""

    def __init__(self, manager: Manager, home: Home, ended: Path) -> None:
        self.manager, self.home, self._ended = manager, home, ended

    def processes(self, *words: str) -> list[psutil.Process]:
        """Those of the unit, the manager not among them."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = one.environ().get("MELDFLOW_HOME") == str(self.home.path)
                if ours and one.exe() == PYTHON and all(word in one.cmdline() for word in words):
                    found.append(one)
        return found

    def begin(self) -> None:
        """Starts it, and waits until it serves."""
        self.manager.ask("start", NAME)
        self.wait()

    def wait(self) -> None:
        """Until it serves."""
        wait_until(self._serving, 240, "it serves")

    def stop(self) -> None:
        """Ends it, and sees that it ended well and nothing is left."""
        self.manager.ask("stop", NAME)
        assert self.manager.show(NAME, "ActiveState") == "inactive"
        assert self._ended.read_text().splitlines()[-1] == "success exited 130"
        assert not self.processes()

    def extract(self, dataset: Path, store: Path) -> str:
        """Starts a run, as the UI does; its id."""
        named = {"name": {"any_": ["extract"]}}
        (deployment,) = records(self.home.api, "deployments", deployments=named)
        options = {"dataset": str(dataset), "store": str(store), "only": [SLOW], "partition": 2}
        body = {"parameters": {"options": options}, "state": {"type": "SCHEDULED"}}
        path = f"deployments/{deployment['id']}/create_flow_run"
        return str(ask(self.home.api, path, body)["id"])

    def state(self, run: str) -> dict[str, Any]:
        """How it is doing."""
        (found,) = records(self.home.api, "flow_runs", flow_runs={"id": {"any_": [run]}})
        return dict(found["state"])

    def _serving(self) -> bool:
        return answers(self.home.api) and bool(self.processes("worker", "start"))


@pytest.fixture
def service(installed: Path, tmp_path: Path) -> Iterator[Installed]:
    """Not started yet."""
    home, ended = Home(tmp_path / "home"), tmp_path / "ended"
    (dropped := installed.with_name(f"{NAME}.d")).mkdir()
    (dropped / "tell.conf").write_text(TELL.format(file=ended))
    imports = os.pathsep.join([str(fragile.announce(tmp_path / "extractors")), IMPORTS])
    variables = {"MELDFLOW_HOME": str(home.path), "PYTHONPATH": imports}
    with open_manager(tmp_path, **variables) as manager:
        yield Installed(manager, home, ended)


def test_it_is_started_again_and_ends_well(service: Installed, tmp_path: Path) -> None:
    manager = service.manager
    manager.ask("enable", "--now", NAME)
    assert manager.ask("is-enabled", NAME) == "enabled"
    service.wait()
    first = set(service.processes())
    os.kill(int(manager.show(NAME, "MainPID")), signal.SIGKILL)
    wait_until(lambda: manager.show(NAME, "NRestarts") == "1", 60, "it is started again")
    service.wait()
    assert not first & set(service.processes())
    service.stop()
    assert (tmp_path / "ended").read_text().splitlines()[0] == "signal killed KILL"


def test_a_run_that_is_under_way_when_it_is_stopped_goes_on_later(
    service: Installed, tmp_path: Path
) -> None:
    store = tmp_path / "slow-store"
    slow = write_dataset(tmp_path / "slow.csv", texts(60, milliseconds=400))
    service.begin()
    run = service.extract(slow, store)
    wait_until(lambda: committed(str(store)) > 0, 120, "something is committed")
    service.stop()
    kept = committed(str(store))
    assert 0 < kept < 30
    assert open_store(str(store)).is_empty
    service.begin()
    wait_until(lambda: service.state(run)["type"] in OVER, 300, "the run is told to be over")
    assert service.state(run)["type"] in {"CANCELLED", "CRASHED"}
    again = service.extract(slow, store)
    wait_until(lambda: service.state(again)["type"] in OVER, 120, "another ends")
    assert service.state(again)["type"] == "COMPLETED"
    said = [one["message"] for one in records(service.home.api, "logs", limit=200)]
    assert any(f"stale: {{'{SLOW}': {60 - 2 * kept}}}" in one for one in said), said
    service.stop()
