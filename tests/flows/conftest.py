from __future__ import annotations

from collections.abc import Iterator

import pytest

from meldflow.flows.serving.server import own_server


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    """A Prefect server, where a test is about something else than a command's own one."""
    with own_server() as url:
        yield url
