from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from meldflow.storage.places import bucket
from tests.proxy import Proxy
from tests.storage.kinds import PLACES, s3_server


@pytest.fixture(scope="session")
def s3() -> Iterator[str]:
    """The address of an S3 server."""
    with s3_server() as address:
        yield address


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Where a store may be made: in a folder, and in a bucket."""
    if request.param == "s3":
        request.getfixturevalue("s3")
        # Whoever is refused sees the holder renew its lock first.
        monkeypatch.setattr(bucket, "BEAT", 0.5)
        monkeypatch.setattr(bucket, "BETWEEN_LOOKS", 0.1)
    return PLACES[request.param](tmp_path)


@pytest.fixture
def network(s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What lies between this process and the server."""
    opened = Proxy(int(s3.rpartition(":")[2]))
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{opened.port}")
    yield opened
    opened.close()
