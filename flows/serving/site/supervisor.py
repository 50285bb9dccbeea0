"""Keeps services running: started in order, restarted when they die, stopped in reverse.

None of their processes outlives who started it.
"""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from meldflow.flows.serving.site.services import Service
from meldflow.models.schema.errors import RunError
from meldflow.tasks.isolated.child import how_it_ended

START_SECONDS = 180.0
"""How long a service may take until it does its work; Prefect's first start compiles itself."""

LOOK_SECONDS = 0.5

SETTLED_SECONDS = 60.0
"""A service that ran so long has proved itself: its next restart waits no longer than the first."""

LONGEST_WAIT = 60.0

ORPHAN_SECONDS = 15.0
"""How long what a process has left behind may take to end; a flow run commits first."""


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
    """Services that are looked after; ``say`` is told in a line of what a person should know."""

    def __init__(self, say: Callable[[str], None]) -> None:
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
                        f"({last_line(one.service.log)}); its log: {one.service.log}"
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
            deadline = time.monotonic() + seconds
            for one in (running.process for running in batch if running.service.ends_last):
                with contextlib.suppress(psutil.NoSuchProcess):
                    _ask_to_end(psutil.Process(one.pid).children(), seconds)
            stop([one.process for one in batch], max(0.0, deadline - time.monotonic()))

    @property
    def _running(self) -> list[_Running]:
        return [one for batch in self._batches for one in batch]

    def _schedule(self, one: _Running, now: float) -> None:
        stop([one.process], one.service.stop_seconds)  # whatever it has left behind
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


def start(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Starts a process that ends with this one, even when this one is killed (Linux).

    To be called in a thread that lives as long as the process should: the kernel watches that.
    The environment comes on top of this process' own, and the output at the end of the log.
    """
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C is ours to handle; its family stays together
            preexec_fn=_end_with_parent if sys.platform == "linux" else None,
        )


def stop(processes: Sequence[subprocess.Popen[bytes]], seconds: float) -> None:
    """Asks processes to end, waits, then ends them and whatever they have left behind."""
    family = _families(processes)
    for one in processes:
        if one.poll() is None:
            one.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + seconds
    for one in processes:
        try:
            one.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            family |= _families([one])
            one.kill()
            one.wait()
    _end(family)


def last_line(log: Path) -> str:
    """What a process said last: the error that ended it, if there is one, before its farewell."""
    lines = log.read_text(errors="replace").strip().splitlines()
    errors = [one for one in lines[-10:] if re.match(r"[\w.]+Error: ", one)]
    return (errors or lines)[-1].strip() if lines else "it wrote nothing"


def _launch(service: Service) -> subprocess.Popen[bytes]:
    return start(service.command, service.environment, service.log)


def _families(processes: Sequence[subprocess.Popen[bytes]]) -> set[psutil.Process]:
    """What the processes have started and what that has, also of those that were killed."""
    sessions = {one.pid for one in processes}
    found: set[psutil.Process] = set()
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(one.pid) in sessions:
                found |= {one, *one.children(recursive=True)}
    return {one for one in found if one.pid not in sessions}


def _end(processes: Collection[psutil.Process]) -> None:
    for one in _ask_to_end(processes, ORPHAN_SECONDS):
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def _ask_to_end(processes: Collection[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Asks processes to end, and waits; those that have not ended by then."""
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    return list(psutil.wait_procs(list(processes), timeout=seconds)[1])


def _end_with_parent() -> None:
    """Asks the kernel to end the process when the one that started it is killed."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
