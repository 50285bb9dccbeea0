from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.storage.kinds import PLACES, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store may be made: in a folder, and in a bucket."""
    if request.param == "s3":
        request.getfixturevalue("s3")
    return PLACES[request.param](tmp_path)
