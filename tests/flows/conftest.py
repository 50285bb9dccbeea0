from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from meldflow.flows.serving.site.shared import shared_home, shared_server
from meldflow.tasks.demo.dataset import synthesise
from tests.conftest import ON_WORKERS
from tests.flows.servers import Workers, dask
from tests.paths import ROOT


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    """The Prefect server that commands share, and that lasts as long as the tests."""
    with shared_server(shared_home()) as url:
        yield url


@pytest.fixture(scope="session")
def demo(common: Path) -> Path:
    """The demo's data set, three dialogues; drawn once, so tests that change it take a copy."""
    with (common / "drawing").open("w") as drawing:
        fcntl.flock(drawing, fcntl.LOCK_EX)
        synthesise(common / "demo", dialogues=3, seed=3)
    return common / "demo"


@pytest.fixture(scope="session")
def _cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    with dask(tmp_path_factory.mktemp("dask")) as running:
        yield running


@pytest.fixture(scope="module")
def workers(_cluster: Workers, request: pytest.FixtureRequest) -> Workers:
    """A Dask cluster that is there already: runs on it start no workers, and load nothing anew."""
    assert request.path.relative_to(ROOT).as_posix() in ON_WORKERS
    return _cluster
