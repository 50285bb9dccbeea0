"""A closed `meldflow up`: whoever has no key gets nothing, on whatever port."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.strangers import amiss, attack, find_secrets


@pytest.mark.slow
def test_nobody_is_let_in_without_a_key(tmp_path: Path) -> None:
    found = attack(tmp_path)
    assert amiss(found) == []
    services = {one["service"] for one in found["ports"]}
    assert services == {"dask scheduler", "dask worker", "prefect server"}
    for one in found["ports"]:
        assert one["tries"] > 10
        assert one["with_key"], f"nobody gets in at {one}: the tries are worth nothing"
        assert one["reached"] == (one["address"] != "127.0.0.1")
    assert found["run"] == {"state": "COMPLETED", "rows": 8}
    assert found["modes"] == {"key": "600", "tls": "700", "ca-key.pem": "600", "node.pem": "600"}
    assert "it refuses (another key is to be named in PREFECT_API_AUTH_STRING" in found["refused"]
    assert len(found["refused"].splitlines()) == 1


def test_a_planted_secret_is_found() -> None:
    places = [("a log", b"it said s3cret\n"), ("another", b"nothing")]
    assert find_secrets(iter(places), {"a key": "s3cret"}) == ["a key in a log"]
