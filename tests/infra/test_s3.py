"""A store in a bucket of a real S3 server: Ceph, as universities run it."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from meldflow.models.schema.errors import UsageError
from meldflow.storage import open_store
from tests import rig
from tests.flows import command
from tests.flows.test_faults import ARGUMENTS, PARTITION, Case
from tests.infra.ceph import Gateway, open_gateway
from tests.proxy import Outage, Proxy
from tests.rig import Rig
from tests.storage import kinds as places
from tests.storage.conftest import network
from tests.storage.places import test_places
from tests.storage.places.test_places import refusing

pytestmark = pytest.mark.infra

__all__ = ["network", "refusing"]

LINES = 96


@pytest.fixture(scope="module")
def gateway() -> Iterator[Gateway]:
    with open_gateway() as opened:
        yield opened


@pytest.fixture(scope="module")
def s3(gateway: Gateway) -> str:
    return gateway.address


@pytest.fixture(scope="module")
def installation(s3: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    folder = tmp_path_factory.mktemp("rig")
    with rig.open_rig(folder, s3=lambda: contextlib.nullcontext(s3)) as opened:
        yield opened


@pytest.fixture
def case(tmp_path: Path, installation: Rig) -> Case:
    return Case(tmp_path, "s3", rig.texts(LINES, milliseconds=80))


class TestBucket(test_places.TestBucket):
    """What holds of the stand-in holds of the server."""

    def test_a_server_without_conditional_writes_is_refused(self, network: Proxy) -> None:
        """They are signed, which the stand-in does not look at: who drops them is found out."""
        network.edit = lambda sent: re.sub(rb"(?i)\r\nif-(none-)?match: [^\r]*", b"", sent)
        url = places.bucket(Path())
        with pytest.raises(UsageError, match="or a proxy that changes requests"):
            test_places.extract(url, 1)
        assert not [one for one in places.names() if one.startswith(test_places.lock_of(url)[:8])]


def all_but_published(case: Case) -> bool:
    return rig.committed(case.store) == LINES // PARTITION


PHASES: dict[str, Callable[[Case], bool]] = {
    "before": lambda _: True,
    "during": lambda case: rig.committed(case.store) >= 2,
    "end": all_but_published,
}
"""A moment of a run → whether it has come."""


@pytest.mark.parametrize(
    ("phase", "how"), [("before", "refused"), ("during", "silent"), ("end", "refused")]
)
def test_a_server_that_is_away_for_a_minute(
    installation: Rig, case: Case, phase: str, how: Outage
) -> None:
    run = installation.run(case.dataset, case.store, *ARGUMENTS)
    rig.wait_until(lambda: PHASES[phase](case) or not run.running, 120, phase)
    with installation.network["s3"].down(how):
        time.sleep(60)
    case.check(run)


def test_a_server_that_answers_slowly(installation: Rig, case: Case) -> None:
    def late(sent: bytes) -> bytes:
        time.sleep(0.05)  # of all requests, one after the other
        return sent

    installation.network["s3"].edit = late
    try:
        case.check(installation.run(case.dataset, case.store, *ARGUMENTS))
    finally:
        installation.network["s3"].edit = bytes


def test_of_two_runs_at_once_one_is_refused_and_one_waits(
    installation: Rig, tmp_path: Path
) -> None:
    case = Case(tmp_path, "s3", rig.texts(LINES, milliseconds=800))  # as long as three starts
    run = case.start(installation)
    refused = installation.run(case.dataset, case.store, *ARGUMENTS)
    waiting = installation.run(case.dataset, case.store, *ARGUMENTS, "--wait", "240")
    assert refused.end() == 2
    assert f"another run is writing to it (process {run.process.pid} on " in refused.message
    case.check(run)
    assert waiting.end() == 0
    assert "nothing to do" in waiting.shown()


def test_a_state_is_taken_back_and_old_ones_are_forgotten(
    installation: Rig, case: Case, tmp_path: Path
) -> None:
    case.check(installation.run(case.dataset, case.store, *ARGUMENTS))
    first = open_store(case.store).id
    rig.write_dataset(case.dataset, [f"{one} anew" for one in rig.texts(LINES, milliseconds=1)])
    assert installation.run(case.dataset, case.store, *ARGUMENTS).end() == 0
    assert rig.differences(case.store, case.truth) > 0
    command.here("rollback", case.store, first, cwd=tmp_path)
    assert rig.differences(case.store, case.truth) == 0
    for tag in json.loads(command.here("tag", case.store, "--json", cwd=tmp_path).stdout):
        print(tag)
    before = len(places.names())
    done = command.run(
        "maintain", case.store, "--older-than", "0", "--json", cwd=tmp_path, api=installation.api
    )
    print(done.stdout)
    assert len(places.names()) < before
    assert rig.differences(case.store, case.truth) == 0


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "wrong AWS_SECRET_ACCESS_KEY"),
        ({"AWS_ACCESS_KEY_ID": "unknown"}, "the access key is unknown: check AWS_ACCESS_KEY_ID"),
        (
            {
                "AWS_ACCESS_KEY_ID": "",
                "AWS_SECRET_ACCESS_KEY": "",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
        ),
    ],
)
@pytest.mark.parametrize("verb", ["status", "extract"])
def test_credentials_that_are_wrong_are_told_in_a_line(
    installation: Rig,
    case: Case,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, str],
    said: str,
    verb: str,
    tmp_path: Path,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value) if value else monkeypatch.delenv(name)
    where = (case.store,) if verb == "status" else (case.dataset, "--store", case.store)
    done = command.run(verb, *where, cwd=tmp_path, code=2, api=installation.api)
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) <= 2, done.stderr


def test_credentials_that_end_during_a_run(installation: Rig, case: Case, gateway: Gateway) -> None:
    run = case.start(installation)
    gateway.ceph.ask("radosgw-admin", "user", "suspend", f"--uid={gateway.user}")
    try:
        assert run.end() != 0
    finally:
        gateway.ceph.ask("radosgw-admin", "user", "enable", f"--uid={gateway.user}")
    assert "what was committed is kept; see to room and rights" in run.message
    again = installation.run(case.dataset, case.store, *ARGUMENTS)
    case.check(again)
    assert "resumed" in again.shown()
