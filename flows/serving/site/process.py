"""Processes that others depend on: none outlives who started it."""

import contextlib
import ctypes
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

ORPHAN_SECONDS = 15.0
"""How long what a process has left behind may take to end; a flow run commits first."""


def start(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    """Starts a process that ends with this one, even when this one is killed (Linux).

    To be called in a thread that lives as long as the process should: the kernel watches that.

    Args:
        command: the program and its arguments.
        environment: variables beside those of this process.
        log: where its output is added.
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


def _families(processes: Sequence[subprocess.Popen[bytes]]) -> set[psutil.Process]:
    """What the processes have started and what that has, also of those that were killed."""
    sessions = {one.pid for one in processes}
    found: set[psutil.Process] = set()
    for one in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getsid(one.pid) in sessions:
                found |= {one, *one.children(recursive=True)}
    return {one for one in found if one.pid not in sessions}


def _end(processes: set[psutil.Process]) -> None:
    for one in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.terminate()
    for one in psutil.wait_procs(list(processes), timeout=ORPHAN_SECONDS)[1]:
        with contextlib.suppress(psutil.NoSuchProcess):
            one.kill()


def _end_with_parent() -> None:
    """Asks the kernel to end the process when the one that started it is killed."""
    set_parent_death_signal = 1
    ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
