"""The Prefect server that commands share: found, shared, replaced, and gone in the end."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from meldflow.flows.serving.site.home import Home, open_home
from meldflow.flows.serving.site.http import answers
from meldflow.flows.serving.site.shared import shared_server
from meldflow.models.schema.errors import UsageError
from tests.flows import command
from tests.flows.servers import until
from tests.servers import end_servers

OTHERS = "PREFECT_API_DATABASE_CONNECTION_URL", "PREFECT_SERVER_DATABASE_CONNECTION_URL"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    found = tmp_path_factory.mktemp("shared")
    yield found
    end_servers(found)


IDLE_SECONDS = 1
KEEP = f"keep(home, idle_seconds={IDLE_SECONDS})\n"


def keeper(home: Path) -> psutil.Process:
    return psutil.Process(int((home / "up.lock").read_text().split()[0]))


@pytest.mark.parametrize(
    "before", ["", "12 http://127.0.0.1:40000/api/of/one/that/was/there/before\n"]
)
def test_the_api_of_a_home_is_whole_or_not_known_yet(tmp_path: Path, before: str) -> None:
    home = Home(tmp_path)
    home.lock.write_text(before)
    with home.lock.open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)  # taken, nothing said
        assert home.api == "".join(before.split()[1:])
    with open_home(tmp_path, "http://127.0.0.1:4200/api"):
        assert home.api == "http://127.0.0.1:4200/api"
    assert home.api == ""


def test_it_is_started_once_and_opens_nobody_else_s_data_base(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    foreign = folder / "foreign.db"
    for name in OTHERS:
        monkeypatch.setenv(name, f"sqlite+aiosqlite:///{foreign}")
    monkeypatch.setenv("PREFECT_HOME", str(folder / "foreign"))
    # Settings of the folder that a command starts in are for others as well.
    monkeypatch.chdir(folder)
    (folder / "prefect.toml").write_text(
        f'[server.database]\nconnection_url = "sqlite+aiosqlite:///{foreign}"\n'
    )

    def used() -> str:
        with shared_server(Home(folder / "home")) as api:
            return api

    with ThreadPoolExecutor(3) as pool:
        (api,) = {one.result() for one in [pool.submit(used) for _ in range(3)]}
    assert answers(api)
    assert (folder / "home" / "prefect" / "prefect.db").exists()
    assert not foreign.exists()
    assert not list((folder / "foreign").rglob("*.db"))


def test_a_server_that_dies_comes_back_and_a_killed_keeper_is_replaced(folder: Path) -> None:
    home = Home(folder / "home")
    with shared_server(home) as api:
        first = keeper(home.path)
        for one in first.children():
            one.kill()
        until(lambda: not answers(api), 20)
        with shared_server(home) as again:  # waits for the one that the keeper starts again
            assert again == api
        children = first.children()
        first.kill()
        until(lambda: not any(one.is_running() for one in children), 30)
        with shared_server(home) as other:
            assert answers(other)
        assert keeper(home.path) != first


def test_it_ends_when_nobody_uses_it_not_before(folder: Path, tmp_path: Path) -> None:
    end_servers(folder)
    home = folder / "home"
    home.mkdir(exist_ok=True)
    imports = (
        "from meldflow.flows.serving.site.shared import Home, keep, shared_server\n"
        "from pathlib import Path\n"
        f"home = Home(Path({str(home)!r}))\n"
    )
    use = (
        "print('ready', flush=True)\n"
        "input()\n"
        "with shared_server(home):\n"
        "    print('there', flush=True)\n"
        "    input()\n"
    )
    programs = [[sys.executable, "-P", "-c", imports + one] for one in (use, KEEP)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(programs[0], **pipes) as user:  # type: ignore[call-overload]
        assert user.stdout.readline() == "ready\n"  # by now it uses the server at a word
        with subprocess.Popen(programs[1], cwd=tmp_path) as kept:
            until(lambda: answers(Home(home).api), 60)
            user.stdin.write("\n")
            user.stdin.flush()
            assert user.stdout.readline() == "there\n"
            time.sleep(2 * IDLE_SECONDS)
            assert kept.poll() is None
            user.kill()  # somebody who is killed is gone, too
            assert kept.wait(30) == 0
    assert Home(home).api == ""


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UsageError, match="cannot be written"),
        shared_server(Home(tmp_path / "file" / "home")),
    ):
        pass


def test_proxies_are_not_asked_for_it_and_its_runs_are_known_later(
    api: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "socks5://127.0.0.1:9")
    foreign = dict.fromkeys(OTHERS, f"sqlite+aiosqlite:///{tmp_path / 'foreign.db'}")
    (tmp_path / "data.csv").write_text("split,dialogue_id,utterance_id,text,clip\ntrain,0,0,Hi.,\n")
    command.run("audit", "data.csv", cwd=tmp_path, prefect=foreign)
    listed = command.run("runs", "--flow", "audit", "--json", cwd=tmp_path).stdout
    run = next(one for one in json.loads(listed) if one["name"].startswith("audit-data.csv-"))
    assert run["state"] == "Completed"
    done = command.run("watch", run["id"], cwd=tmp_path)
    assert "Completed" in done.stdout
    assert not (tmp_path / "foreign.db").exists()


def test_a_killed_command_leaves_the_server_to_others(api: str, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("split,dialogue_id,utterance_id,text,clip\ntrain,0,0,Hi.,\n")
    running = command.start("audit", "data.csv", cwd=tmp_path)
    time.sleep(3)
    os.kill(running.pid, signal.SIGKILL)
    running.communicate()
    assert answers(api)
    assert (
        f"Prefect UI: {api.removesuffix('/api')}"
        in command.run("audit", "data.csv", cwd=tmp_path).stderr
    )
