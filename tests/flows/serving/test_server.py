from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from meldflow.flows.serving.server import outcome
from meldflow.flows.serving.site.home import Home
from meldflow.flows.serving.site.services import (
    Site,
    dask_scheduler,
    dask_workers,
    prefect_server,
    prefect_worker,
)
from meldflow.flows.serving.site.settings import CLIENT_KEY, SERVER_KEY
from meldflow.models.schema.errors import RunError
from meldflow.tasks.cluster.certificates import tls
from meldflow.tasks.cluster.environment import dask_variables
from meldflow.tasks.cluster.profile import load_profile


class Engine:
    """Stands for a flow whose server goes away after its body, or before."""

    def __init__(self, error: Exception, *, late: bool) -> None:
        self.error, self.late = error, late

    def fn(self, number: int) -> int:
        return 2 * number

    def __call__(self, number: int) -> int:
        if self.late:
            self.fn(number)
        raise self.error


AWAY = (httpx.ConnectError("refused"), RuntimeError("Failed to reach API at http://x/api/"))


@pytest.mark.parametrize("error", AWAY)
def test_what_a_flow_gave_is_not_lost_with_its_server(error: Exception) -> None:
    assert outcome(Engine(error, late=True), 21) == 42


@pytest.mark.parametrize("error", AWAY)
def test_a_server_that_goes_before_the_end_is_told_in_one_line(error: Exception) -> None:
    with pytest.raises(RunError, match="run again once it is back"):
        outcome(Engine(error, late=False), 21)


def test_other_errors_are_not_taken_for_it() -> None:
    with pytest.raises(RuntimeError, match="mine"):
        outcome(Engine(RuntimeError("mine"), late=True), 21)


@pytest.fixture
def closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.delenv(SERVER_KEY, raising=False)
    site = Site(home=Home(tmp_path), host="10.0.0.5", gpus=(), workers=1)
    assert site.close()
    return site


def test_what_others_reach_is_closed_and_its_key_is_in_no_command_line(closed: Site) -> None:
    name, password = closed.key.split(":")
    assert (name, len(password)) == ("meldflow", 43)
    assert closed.home.key_file.stat().st_mode & 0o777 == 0o600
    assert not closed.close(), "there is a key, and no other is made"
    server, flows = prefect_server(closed), prefect_worker(closed)
    assert {server.environment[SERVER_KEY], flows.environment[CLIENT_KEY]} == {closed.key}
    dask = (dask_scheduler(closed), *dask_workers(closed))
    for one in (server, flows, *dask):
        assert password not in " ".join(one.command)
    for one in dask:
        assert dask_variables(tls(closed.home.certificates)).items() <= one.environment.items()
        assert "127.0.0.1" in one.command[one.command.index("--dashboard-address") + 1]
    closed.write_profile()
    profile = load_profile(str(closed.home.profile))
    assert profile.tls == closed.home.certificates
    assert closed.scheduler == "tls://10.0.0.5:8786"


def test_this_machine_alone_is_closed_where_somebody_asks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = Site(home=Home(tmp_path), gpus=(), workers=1)
    assert not site.close()
    assert (site.key, site.scheduler, *tmp_path.iterdir()) == ("", "tcp://127.0.0.1:8786")
    assert SERVER_KEY not in prefect_server(site).environment
    assert replace(site, closed=True).is_closed
    monkeypatch.setenv(SERVER_KEY, "us:our own")
    assert not site.close(), "it is known already"
    assert site.key == "us:our own"
