"""Keeps services running: started in order, restarted when they die, stopped in reverse."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from meldflow.flows.serving.site import process
from meldflow.flows.serving.site.services import Service
from meldflow.models.schema.errors import RunError
from meldflow.tasks.isolated.child import how_it_ended

START_SECONDS = 180.0
"""How long a service may take until it does its work; Prefect's first start compiles itself."""

LOOK_SECONDS = 0.5

SETTLED_SECONDS = 60.0
"""A service that ran so long has proved itself: its next restart waits no longer than the first."""

LONGEST_WAIT = 60.0


@dataclass(slots=True)
class _Running:
    service: Service
    process: subprocess.Popen[bytes]
    since: float
    wait: float = 1.0
    """Seconds before the next restart."""
    due: float | None = None
    """When it is restarted, if it is dead."""


class Supervisor:
    """Services that are looked after."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """Looks after nothing yet.

        Args:
            say: told in one line of everything that a person should know.
        """
        self._say = say
        self._batches: list[list[_Running]] = []

    def launch(self, *services: Service) -> None:
        """Starts services together; together they are stopped one day."""
        self._batches.append([_Running(one, _launch(one), time.monotonic()) for one in services])

    def wait(self) -> None:
        """Waits until all services do their work.

        Raises:
            RunError: one does not; the message has its last words.
        """
        for one in self._running:
            deadline = one.since + START_SECONDS
            while not one.service.is_ready():
                ended = one.process.poll() is not None
                if ended or time.monotonic() > deadline:
                    why = "it ended" if ended else f"not ready after {START_SECONDS:.0f} s"
                    raise RunError(
                        f"{one.service.name} did not start: {why} "
                        f"({process.last_line(one.service.log)}); its log: {one.service.log}"
                    )
                time.sleep(0.2)

    def look(self) -> None:
        """Restarts whatever has died and is due."""
        now = time.monotonic()
        for one in self._running:
            if one.process.poll() is None:
                continue
            if one.due is None:
                self._schedule(one, now)
            elif now >= one.due:
                one.process, one.since, one.due = _launch(one.service), now, None

    def watch(self) -> None:
        """Looks after the services until the process is stopped."""
        while True:
            self.look()
            time.sleep(LOOK_SECONDS)

    def stop(self) -> None:
        """Stops everything, the last that was started first."""
        while self._batches:
            batch = self._batches.pop()
            seconds = max(one.service.stop_seconds for one in batch)
            process.stop([one.process for one in batch], seconds)

    @property
    def _running(self) -> list[_Running]:
        return [one for batch in self._batches for one in batch]

    def _schedule(self, one: _Running, now: float) -> None:
        process.stop([one.process], one.service.stop_seconds)  # whatever it has left behind
        if now - one.since > SETTLED_SECONDS:
            one.wait = 1.0
        one.due = now + one.wait
        self._say(
            f"{one.service.name} ended ({how_it_ended(one.process.returncode)}), restarting in "
            f"{one.wait:.0f} s; its log: {one.service.log}"
        )
        one.wait = min(LONGEST_WAIT, one.wait * 2)


@contextlib.contextmanager
def supervising(say: Callable[[str], None]) -> Iterator[Supervisor]:
    """A supervisor whose services end with the block, by Ctrl-C and SIGTERM too.

    Either of them raises ``KeyboardInterrupt`` inside; while things are being stopped, more of
    them change nothing.
    """
    supervisor = Supervisor(say)
    ends, interrupt = (signal.SIGINT, signal.SIGTERM), signal.default_int_handler
    before = {one: signal.signal(one, interrupt) for one in ends}
    try:
        yield supervisor
    finally:
        for one in before:
            signal.signal(one, signal.SIG_IGN)
        supervisor.stop()
        for one, handler in before.items():
            signal.signal(one, handler)


def _launch(service: Service) -> subprocess.Popen[bytes]:
    return process.start(service.command, service.environment, service.log)
