"""Prefect's data base in PostgreSQL, named as the files in deploy/ name it."""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest

from meldflow.flows.serving.site.http import answers
from tests import fragile
from tests.deploy.test_files import DATABASE, told_of_the_database
from tests.flows import command
from tests.flows.servers import up
from tests.infra.daemon import daemon
from tests.infra.postgres import Postgres, open_postgres
from tests.paths import IMPORTS
from tests.proxy import free_port
from tests.rig import differences, texts, undisturbed, wait_until, write_dataset
from tests.strangers import command_lines

pytestmark = pytest.mark.infra

ONLY = [one.spec.name for one in fragile.EXTRACTORS]
DEPLOYMENTS = {"audit", "extract", "train", "pipeline", "maintain", "poll"}


@pytest.fixture
def postgres() -> Iterator[Postgres]:
    with (
        tempfile.TemporaryDirectory(prefix="postgres-") as folder,
        open_postgres(Path(folder)) as running,
    ):
        yield running


def named(postgres: Postgres, file: str) -> dict[str, str]:
    """The data base as a file in deploy/ names it, but for its address."""
    found = told_of_the_database(postgres.password)[file]
    assert found[f"{DATABASE}HOST"] == "database"
    return found | {f"{DATABASE}HOST": "127.0.0.1", f"{DATABASE}PORT": str(postgres.port)}


def test_up_keeps_its_history_in_it(postgres: Postgres, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data.csv", texts(8, milliseconds=5))
    truth = undisturbed(data, tmp_path / "truth", partition=4)
    known = os.pathsep.join((str(fragile.announce(tmp_path / "extractors")), IMPORTS))
    environment = {**os.environ, "PYTHONPATH": known}
    prefect, store = named(postgres, "compose.yaml"), str(tmp_path / "store")
    options = {"dataset": str(data), "store": store, "only": ONLY, "partition": 4}
    with up(tmp_path, "--workers", "1", environment=environment, prefect=prefect) as first:
        run = first.start("extract", {"options": options})
        assert first.finish(run) == "COMPLETED", first.logs(run)
        said = first.said + command_lines(first)
    assert differences(store, truth) == 0
    assert postgres.ask(f"SELECT state_type FROM flow_run WHERE id = '{run}'") == "COMPLETED"
    quoted = quote(postgres.password, safe="")
    where = f"{postgres.user}:{quoted}@127.0.0.1:{postgres.port}/prefect"
    by_url = {f"{DATABASE}CONNECTION_URL": f"postgresql+asyncpg://{where}"}
    with up(tmp_path, "--workers", "1", environment=environment, prefect=by_url) as second:
        assert second.state(run) == "COMPLETED"
        assert {second.deployment(one)["name"] for one in DEPLOYMENTS} == DEPLOYMENTS
        assert [one["id"] for one in second.runs("extract")] == [run]
        said += second.said + command_lines(second)
    home = tmp_path / "home"
    assert not list(home.rglob("*.db"))
    logs = [one.read_text(errors="replace") for one in home.rglob("*") if one.is_file()]
    everything = "\n".join([said, *logs])
    assert postgres.password not in everything
    assert quoted not in everything


def test_deploy_registers_in_it(postgres: Postgres, tmp_path: Path) -> None:
    port = str(free_port())
    api = f"http://127.0.0.1:{port}/api"
    server = [sys.executable, "-P", "-m", "prefect", "server", "start"]
    server += ["--host", "127.0.0.1", "--port", port]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    environment |= {"PREFECT_HOME": str(tmp_path), "DO_NOT_TRACK": "1"}
    environment |= named(postgres, "server.yaml")
    with daemon(server, tmp_path, environment):
        wait_until(lambda: answers(api), 180, "the Prefect server answers")
        done = command.run("deploy", "--json", cwd=tmp_path, api=api)
    assert {one["name"] for one in json.loads(done.stdout)["deployments"]} == DEPLOYMENTS
    assert set(postgres.ask("SELECT name FROM deployment").split()) == DEPLOYMENTS


def test_a_wrong_password_is_told_and_not_shown(postgres: Postgres, tmp_path: Path) -> None:
    wrong = "wr@ng/one"
    prefect = named(postgres, "compose.yaml") | {f"{DATABASE}PASSWORD": wrong}
    options = ("--port", "--scheduler-port", "--dashboard-port")
    ports = [part for option in options for part in (option, str(free_port()))]
    done = command.run("up", "--home", "home", *ports, cwd=tmp_path, code=1, prefect=prefect)
    log = tmp_path / "home" / "logs" / "prefect-server.log"
    assert "prefect-server did not start: it ended (" in done.stderr
    why = 'password authentication failed for user "prefect"'
    assert f"{why}); its log: {log}\n" in done.stderr
    assert "Traceback" not in done.stderr
    assert wrong not in done.stderr + log.read_text()
