"""What holds for all tests."""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.paths import IMPORTS
from tests.servers import end_servers

os.environ["PYTHONPATH"] = IMPORTS

# A shell lets what it starts in the background ignore Ctrl-C, and so would all that tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def common(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all processes share that test side by side."""
    base = tmp_path_factory.getbasetemp()
    return base.parent if "PYTEST_XDIST_WORKER" in os.environ else base


@pytest.fixture(scope="session", autouse=True)
def _home(common: Path) -> Iterator[None]:
    """Commands share a server, which ends with the tests, and leave the user's alone."""
    home = common / "home"
    home.mkdir(exist_ok=True)
    os.environ["MELDFLOW_HOME"] = str(home)
    with (home / "testers").open("a") as testers:
        fcntl.flock(testers, fcntl.LOCK_SH)
        yield
        try:
            fcntl.flock(testers, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # others go on
        end_servers(home)


ON_WORKERS = (
    "tests/flows/cli/test_clips.py",
    *(
        f"tests/flows/test_{name}.py"
        for name in ("instances", "prefect", "real_clips", "resume", "watch")
    ),
)
"""Files whose runs share a Dask cluster (fixture ``workers``): one process tests them all, so that
networks are loaded by one cluster alone."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hands out tests by file, and those ``ON_WORKERS`` as if they were one."""
    from xdist.scheduler import LoadFileScheduling  # type: ignore[import-untyped]

    class Scheduling(LoadFileScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            file = str(super()._split_scope(nodeid))
            return "workers" if file in ON_WORKERS else file

    return Scheduling(config, log)
