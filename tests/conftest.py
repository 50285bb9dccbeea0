"""What holds for all tests."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.paths import importable
from tests.servers import end_servers

# Children of tests find this checkout and its tests, whatever folder they start in.
os.environ["PYTHONPATH"] = importable()


@pytest.fixture(scope="session", autouse=True)
def _home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Commands share a server, which ends with the tests, and leave the user's alone."""
    home = tmp_path_factory.mktemp("home")
    os.environ["MELDFLOW_HOME"] = str(home)
    yield
    end_servers(home)
