"""The Prefect server that a command talks to.

A configured server is used as it is. Where there is none, the command starts a real one on a
free loopback port and stops it at its end. Prefect's own in-process fallback is never used: it
loses task runs and starts a copy in every process that asks for it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from models.schema import RunError, UsageError

START_SECONDS = 180.0
DELIVER_SECONDS = 20.0

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",  # it drops fractions: 0 spins
}
"""No telemetry from the client or the server; logs go to the run, not over the terminal. The server
writes the states of task runs once a second, not one by one: by itself it spends 40 % of its time
on building the same SQL statement anew."""


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
        if not _healthy(configured):
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
        port = _free_port()
        url = f"http://127.0.0.1:{port}/api"
        log = Path(home, "server.log")
        with log.open("wb") as output:
            server = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "prefect",
                    "server",
                    "start",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                ],
                env={**os.environ, **QUIET, "PREFECT_HOME": home, "PREFECT_API_URL": url},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        try:
            _wait_until_healthy(server, url, log)
            yield url
        finally:
            _deliver()
            _stop(server)


def _wait_until_healthy(server: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not _healthy(url):
        if server.poll() is not None or time.monotonic() > deadline:
            lines = log.read_text(errors="replace").strip().splitlines()
            last = lines[-1] if lines else "it wrote nothing"
            raise RunError(f"prefect server: it did not start on {url} ({last})")
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


def _healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False


def _stop(server: subprocess.Popen[bytes]) -> None:
    server.send_signal(signal.SIGTERM)
    try:
        server.wait(10)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _die_with_parent() -> None:
    """Asks the kernel to end the server when this process is killed (Linux)."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
