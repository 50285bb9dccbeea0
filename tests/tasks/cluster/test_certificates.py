"""Dask by certificates: who has none of the cluster's authority is refused, in a line."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster import certificates, connection
from meldflow.tasks.cluster.certificates import AUTHORITY, NODE, TRUSTED, make, tls
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.environment import dask_variables
from meldflow.tasks.cluster.profile import Address
from tests.flows import command
from tests.tasks.cluster.processes import Processes, scheduler, wait_until

ROLES = "cpu=1 model=1"


def test_they_are_made_once_and_renewed_by_the_same_authority(tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    made = command.here("certificates", folder, "--json", cwd=tmp_path)
    assert f"{datetime.now(UTC) + timedelta(days=365):%Y-%m-%d}" in made.stdout
    modes = {one.name: one.stat().st_mode & 0o777 for one in folder.iterdir()}
    assert modes == {TRUSTED: 0o644, AUTHORITY: 0o600, NODE: 0o600}
    before = {name: (folder / name).read_bytes() for name in modes}
    again = command.here("certificates", folder, cwd=tmp_path, code=2)
    assert "made already; renew them with --rotate" in again.stderr
    none = command.here("certificates", tmp_path / "none", "--rotate", cwd=tmp_path, code=2)
    assert "none were made here yet" in none.stderr
    command.here("certificates", folder, "--rotate", cwd=tmp_path)
    after = {name: (folder / name).read_bytes() for name in modes}
    assert {name for name in modes if before[name] != after[name]} == {NODE}
    verified = subprocess.run(
        ["openssl", "verify", "-CAfile", folder / TRUSTED, folder / NODE], capture_output=True
    )
    assert verified.returncode == 0, verified.stderr


def test_what_cannot_be_used_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profile = Address(kind="address", address="tls://127.0.0.1:1", tls=tmp_path)
    with pytest.raises(UsageError, match="`meldflow certificates` makes them"), profile.open():
        pass
    (tmp_path / NODE).write_text("nothing")
    with pytest.raises(UsageError, match="it holds no certificate"), profile.open():
        pass
    (tmp_path / NODE).unlink()
    monkeypatch.setattr(certificates, "LIFE", timedelta(minutes=-1))
    make(tmp_path)
    with pytest.raises(UsageError, match=r"valid until .* --rotate` renews them"), profile.open():
        pass
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        make(tmp_path / "file" / "tls")


def test_address_and_certificates_belong_together(folder: Path) -> None:
    for profile, says in (
        (Address(kind="address", address="tcp://x:1", tls=folder), "begins with tls://"),
        (Address(kind="address", address="tls://x:1"), "name the folder"),
    ):
        with pytest.raises(UsageError, match=says), profile.open():
            pass


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(found := tmp_path / "tls")
    return found


@pytest.fixture
def closed(folder: Path, tmp_path: Path) -> Iterator[Processes]:
    """A scheduler that asks for a certificate."""
    with scheduler(tmp_path, dask_variables(tls(folder))) as running:
        yield running


def test_who_has_none_is_refused_in_a_line(
    closed: Processes, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 10)
    address = closed.address.replace("tcp", "tls")
    profile = Address(kind="address", address=address, tls=folder, join_seconds=30)
    variables = dask_variables(tls(folder))
    closed.worker("good", ROLES, variables, address)
    with open_cluster(profile) as cluster:
        assert len(cluster.client.nthreads()) == 1
        assert cluster.client.submit(int, "7", resources={"cpu": 1}).result(20) == 7
    make(forged := tmp_path / "forged")
    closed.worker("open", ROLES)
    closed.worker("forger", ROLES, dask_variables(tls(forged)), address)
    wait_until(lambda: closed.log("scheduler").count("TLS handshake failed") > 1)
    make(folder)
    with open_cluster(profile) as cluster:
        known = cluster.client.scheduler_info(n_workers=-1)["workers"].values()
        assert [one["name"] for one in known] == ["good"]
    for wrong in (
        Address(kind="address", address=address, tls=forged),
        Address(kind="address", address=closed.address),
    ):
        started = time.monotonic()
        with pytest.raises(UsageError) as refused, open_cluster(wrong):
            pass
        print(refused.value, time.monotonic() - started)
        assert "\n" not in str(refused.value)
        assert time.monotonic() - started < 15
    assert "Traceback" not in closed.log("scheduler")
