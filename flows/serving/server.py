"""The Prefect server that a command talks to.

A configured server is used as it is. Where there is none, the command starts a real one on a
free loopback port and stops it at its end. Prefect's own in-process fallback is never used: it
loses task runs and starts a copy in every process that asks for it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec, TypeVar, get_type_hints

from meldflow.flows.serving import database, process
from meldflow.models.schema.errors import RunError, UsageError

P = ParamSpec("P")
T = TypeVar("T")

START_SECONDS = 180.0
DELIVER_SECONDS = 20.0
STOP_SECONDS = 10.0

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
}
"""No telemetry from the client or the server; logs go to the run, not over the terminal, and no
line for every message that a server does not take because it is away."""

PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "6", "PREFECT_API_REQUEST_TIMEOUT": "20"}
"""A server may be away for a minute or two (2 + 4 + … + 64 s), also when a run ends."""

FRUGAL = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",  # it drops fractions: 0 spins
}
"""A server that writes the states of task runs once a second, not one by one: by itself it spends
40 % of its time on building the same SQL statement anew."""

HEARTBEAT_SECONDS = 30
"""Between the signs of life that a flow run gives; Prefect allows no less. Its default, 180, is
longer than the silence after which a run is taken for dead (``meldflow.flows.serving.zombies``)."""

ALIVE = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}

_undelivered: list[str] = []
"""Servers that did not take everything that this process had to tell them."""


@contextlib.contextmanager
def prefect_server() -> Iterator[str]:
    """The address of the API that flows in this process report to, up and healthy.

    Raises:
        UsageError: the configured server does not answer.
        RunError: a server of our own did not start.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    configured = PREFECT_API_URL.value()
    if configured:
        if not answers(configured):
            raise UsageError(
                f"prefect server {configured}: it does not answer; start it with "
                "`prefect server start`, or unset PREFECT_API_URL to have one started here"
            )
        try:
            yield configured
        finally:
            if not _deliver():
                _undelivered.append(configured)
        return
    with own_server() as url, temporary_settings(updates={PREFECT_API_URL: url}):
        yield url


@contextlib.contextmanager
def own_server() -> Iterator[str]:
    """A server with a data base of its own, gone when the command ends."""
    with tempfile.TemporaryDirectory(
        prefix="meldflow-prefect-", ignore_cleanup_errors=True
    ) as home:
        port = process.free_port()
        url = f"http://127.0.0.1:{port}/api"
        log = Path(home, "server.log")
        ready_made = database.take(Path(home))
        environment = {**QUIET, **FRUGAL, "PREFECT_HOME": home, "PREFECT_API_URL": url}
        server = process.start(server_command("127.0.0.1", port), environment, log)
        try:
            _wait_until_healthy(server, url, log)
            if not ready_made:
                database.keep(Path(home))
            yield url
        finally:
            _deliver()
            process.stop([server], STOP_SECONDS)


def server_command(host: str, port: int) -> tuple[str, ...]:
    """What starts a Prefect server."""
    where = ("--host", host, "--port", str(port))
    return (sys.executable, "-P", "-m", "prefect", "server", "start", *where)


def answers(api: str) -> bool:
    """Whether the server with this API answers."""
    return process.healthy(f"{api}/health")


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RunError(f"prefect server: it did not start on {url} ({process.last_line(log)})")
        time.sleep(0.2)


def outcome(flow: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What a flow gives, also where its server went away before it could be told.

    Raises:
        RunError: the server was away for too long before the flow came to its end.
    """
    import httpx

    kept: list[T] = []
    body: Callable[P, T] = flow.fn  # type: ignore[attr-defined]

    @functools.wraps(body)
    def keeping(*arguments: P.args, **named: P.kwargs) -> T:
        kept.append(body(*arguments, **named))
        return kept[0]

    # Prefect would look up the names in the annotations here, not where the flow is.
    keeping.__signature__ = inspect.signature(body, eval_str=True)  # type: ignore[attr-defined]
    keeping.__annotations__ = get_type_hints(body)
    told = copy.copy(flow)
    told.fn = keeping  # type: ignore[attr-defined]
    try:
        return told(*arguments, **named)
    except (httpx.HTTPError, RuntimeError) as error:
        if not _is_away(error):
            raise
        if kept:
            return kept[0]
        why = str(error).strip() or type(error).__name__
        raise RunError(
            f"prefect server: it went away ({why}); what was committed is kept: run again once "
            "it is back"
        ) from error


def _is_away(error: Exception) -> bool:
    """Whether Prefect says that nobody answers; at a run's start it does so in an error of its own.

    What a flow itself ends in is never one of these: it talks to nobody else by HTTP.
    """
    import httpx

    return isinstance(error, httpx.HTTPError) or "Failed to reach API" in str(error)


def undelivered() -> tuple[str, ...]:
    """Addresses of the servers that do not know everything of this process's runs."""
    return tuple(_undelivered)


def _deliver() -> bool:
    """Sends what Prefect still holds back, and ends the threads that hold it.

    Prefect delivers logs and events in the background; its threads wait at exit for as long
    as that takes, which is for ever once the server is gone. Gives whether everything is sent.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    left: set[object] = set()
    for service in (APILogWorker, EventsWorker):
        waited = service.drain_all(timeout=DELIVER_SECONDS)
        left |= waited[1] if isinstance(waited, tuple) else set()
    return not left
