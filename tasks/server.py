"""The Prefect server that a command talks to.

A configured server is used as it is. Where there is none, the command starts a real one on a
free loopback port and stops it at its end. Prefect's own in-process fallback is never used: it
loses task runs and starts a copy in every process that asks for it.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from models.schema import RunError, UsageError
from tasks.serving import process

START_SECONDS = 180.0
DELIVER_SECONDS = 20.0
STOP_SECONDS = 10.0

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
"""No telemetry from the client or the server; logs go to the run, not over the terminal."""


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
        yield configured
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
        environment = {**QUIET, "PREFECT_HOME": home, "PREFECT_API_URL": url}
        server = process.start(server_command("127.0.0.1", port), environment, log)
        try:
            _wait_until_healthy(server, url, log)
            yield url
        finally:
            _deliver()
            process.stop([server], STOP_SECONDS)


def server_command(host: str, port: int) -> tuple[str, ...]:
    """What starts a Prefect server."""
    where = ("--host", host, "--port", str(port))
    return (sys.executable, "-m", "prefect", "server", "start", *where)


def answers(api: str) -> bool:
    """Whether the server with this API answers."""
    return process.healthy(f"{api}/health")


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not answers(url):
        if server.poll() is not None or time.monotonic() > deadline:
            raise RunError(f"prefect server: it did not start on {url} ({process.last_line(log)})")
        time.sleep(0.2)


def _deliver() -> None:
    """Sends what Prefect still holds back, and ends the threads that hold it.

    Prefect delivers logs and events in the background; its threads wait at exit for as long
    as that takes, which is for ever once the server is gone.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for service in (APILogWorker, EventsWorker):
        service.drain_all(timeout=DELIVER_SECONDS)
