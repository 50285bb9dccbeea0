from __future__ import annotations

from collections.abc import Iterator

import pytest

from meldflow.flows.serving.site.shared import shared_home, shared_server


@pytest.fixture(scope="session")
def api() -> Iterator[str]:
    """The Prefect server that commands share, and that lasts as long as the tests."""
    with shared_server(shared_home()) as url:
        yield url
