"""The Prefect server that commands share where there is no other.

The first command starts a keeper, which starts the server, starts it again when it dies, and ends
once no command has used it for a while. A command holds a lock of the file ``users`` as long as it
uses the server, so that the kernel knows who is there, however a command ends.
"""

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from distributed.utils import open_port

from meldflow.flows.serving.site.home import Home, default_home, open_home, try_lock, unwritable
from meldflow.flows.serving.site.http import answers, client_of
from meldflow.flows.serving.site.services import Site, prefect_server
from meldflow.flows.serving.site.supervisor import (
    LOOK_SECONDS,
    START_SECONDS,
    last_line,
    supervising,
)
from meldflow.models.schema.errors import MeldflowError, RunError

IDLE_SECONDS = 900.0
"""How long the server waits for another command."""


def shared_home() -> Home:
    """Where it is: by machine, since many may see one disk, and by the data base's version."""
    name = f"{socket.gethostname()}-prefect-{version('prefect')}"
    return Home(default_home() / "commands" / name)


@contextlib.contextmanager
def shared_server(home: Home) -> Iterator[str]:
    """The API of the server, which lasts as long as the block and a while longer.

    Raises:
        UsageError: its folder cannot be written.
        RunError: it did not start.
    """
    try:
        home.logs.mkdir(parents=True, exist_ok=True)
        users = (home.path / "users").open("a")
    except OSError as error:
        raise unwritable(home, error) from error
    with users:
        fcntl.flock(users, fcntl.LOCK_SH)  # a keeper that is about to end is waited for
        with (home.path / "starting").open("a") as starting:
            fcntl.flock(starting, fcntl.LOCK_EX)
            api = _started(home)
        yield api


def _started(home: Home) -> str:
    keeper: subprocess.Popen[bytes] | None = None
    deadline = time.monotonic() + START_SECONDS
    while not ((api := home.api) and answers(api)):
        if keeper is None and not api:
            keeper = _start_keeper(home)
        # One that somebody else had started, and was killed, may have been a little faster.
        ended = keeper is not None and keeper.poll() is not None and not home.api
        if ended or time.monotonic() > deadline:
            log = home.log("keeper")
            raise RunError(f"prefect server: it did not start ({last_line(log)}); its log: {log}")
        time.sleep(0.1)
    if keeper is not None:
        from meldflow.flows.serving.site.automations import register_zombies  # and Prefect's client

        with client_of(api) as client:
            register_zombies(client)
    return api


def _start_keeper(home: Home) -> subprocess.Popen[bytes]:
    # What somebody set for another server, a data base above all, is none of this one's.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PREFECT_")}
    with home.log("keeper").open("wb") as log:
        keeper = subprocess.Popen(
            (sys.executable, "-P", "-m", __name__, str(home.path)),
            cwd=home.path,  # Prefect reads settings from the folder it starts in
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # it outlives the command, and Ctrl-C
        )
    threading.Thread(target=keeper.wait, daemon=True).start()
    return keeper


def keep(home: Home, idle_seconds: float = IDLE_SECONDS) -> None:
    """Keeps a server running until no command has used it for ``idle_seconds``.

    Raises:
        UsageError: somebody else serves from that home.
        RunError: the server does not start.
        KeyboardInterrupt: it was stopped.
    """
    site = Site(home=home, port=open_port(), gpus=())
    with (
        (home.path / "users").open("a") as users,
        open_home(home.path, site.api),
        supervising(lambda line: print(line, flush=True)) as supervisor,
    ):
        supervisor.launch(prefect_server(site))
        supervisor.wait()
        used = time.monotonic()
        while True:
            supervisor.look()
            time.sleep(LOOK_SECONDS)
            if not try_lock(users.fileno(), fcntl.LOCK_EX):
                used = time.monotonic()
            elif time.monotonic() - used > idle_seconds:
                return  # holding the lock: nobody is given a server that ends
            else:
                fcntl.flock(users, fcntl.LOCK_UN)


if __name__ == "__main__":
    try:
        keep(Home(Path(sys.argv[1])))
    except KeyboardInterrupt:
        pass
    except MeldflowError as failed:
        sys.exit(str(failed))
