"""Alerts as docs/monitoring.md sets them up: they reach a webhook, and hooks are called."""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import get_client

from meldflow.flows.audit import audit
from meldflow.flows.serving.server import prefect_server
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.options import AuditOptions
from tests.paths import ROOT

SNIPPET = (ROOT / "docs" / "monitoring.md").read_text().split("```python\n")[1].partition("```")[0]
NAMES = ("a run is in trouble", "a run does not end", "no extraction for a day")


@pytest.fixture
def heard() -> Iterator[tuple[str, queue.Queue[str]]]:
    """The address of a webhook, and what it is told."""
    told: queue.Queue[str] = queue.Queue()

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            told.put(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["text"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/hook", told
    server.shutdown()
    server.server_close()


def set_up(url: str, **seconds: int) -> None:
    """Does what the page says, with another address, and ``h14=10`` ten seconds for 14 hours."""
    assert "https://chat.example/hook" in SNIPPET
    own = SNIPPET.replace("https://chat.example/hook", url)
    for hours, given in seconds.items():
        own = own.replace(f"hours={hours[1:]}", f"seconds={given}")
    exec(compile(own, "monitoring.md", "exec"), {})


@pytest.fixture(autouse=True)
def at(api: str) -> Iterator[None]:
    """Flows of this process report to the server, which forgets the automations afterwards."""
    with prefect_server() as own, get_client(sync_client=True) as client:
        assert own == api
        yield
        for name in NAMES:
            for one in client.read_automations_by_name(name):
                client.delete_automation(one.id)


def test_a_run_that_fails_reaches_a_person(
    heard: tuple[str, queue.Queue[str]], tmp_path: Path
) -> None:
    url, told = heard
    set_up(url)
    hooked: list[str] = []
    watched = audit.with_options(on_failure=[lambda _flow, run, _state: hooked.append(run.name)])
    with pytest.raises(UsageError):
        watched(AuditOptions(dataset=tmp_path / "nowhere"))
    (name,) = hooked
    assert name.startswith("audit-nowhere-")
    said = told.get(timeout=60)
    assert said.startswith(f"{name} Failed: ")
    assert "nowhere: does not exist" in said


@pytest.mark.slow
def test_silence_reaches_a_person(heard: tuple[str, queue.Queue[str]]) -> None:
    url, told = heard
    set_up(url, h26=10)
    assert told.get(timeout=90) == "meldflow: no extraction completed for 26 hours"


@flow
def hanging(folder: Path) -> None:
    while not (folder / "told").exists():
        time.sleep(0.5)


@pytest.mark.slow
def test_a_run_that_lives_on_reaches_a_person(
    heard: tuple[str, queue.Queue[str]], tmp_path: Path
) -> None:
    url, told = heard
    set_up(url, h14=10)
    with ThreadPoolExecutor(1) as threads:
        run = threads.submit(copy_context().run, hanging, tmp_path)
        try:
            said = told.get(timeout=90)
        finally:
            (tmp_path / "told").touch()
        run.result()
    assert said.endswith(" goes on: for 14 hours now")
    assert not said.startswith(" ")
