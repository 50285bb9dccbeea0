"""Where a Prefect server of ours keeps its data base, its logs and its state."""

import contextlib
import fcntl
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from platformdirs import user_data_path

from meldflow.models.schema.errors import UsageError

VARIABLE = "MELDFLOW_HOME"
"""Names another folder for everything that is served; the user's data folder otherwise."""

ROOM = 2**24
"""Bytes that have to be free: a server on a full disk answers, and keeps nothing."""

PATIENCE_SECONDS = 1.0
"""How long one may wait for those who only look whether a home is taken."""


class Home:
    """The folder of one server, and of what belongs to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.prefect = path / "prefect"
        """Prefect's own home: the data base with every run."""
        self.dask = path / "dask"
        """What workers spill when their memory is full."""
        self.profile = path / "cluster.yaml"
        """The cluster profile that flows join the workers by."""
        self.certificates = path / "tls"
        """The folder of those that Dask asks for, where the site is closed."""
        self.key_file = path / "key"
        """Has the key, for the eyes of its owner."""
        self.lock = path / "up.lock"
        """Held by whoever serves from here; has its process and its API."""
        self.logs = path / "logs"
        """What the services have to say."""

    @property
    def key(self) -> str:
        """What the Prefect server asks for, as ``name:password``; empty before it was closed."""
        with contextlib.suppress(OSError):
            return self.key_file.read_text().strip()
        return ""

    @property
    def api(self) -> str:
        """The API that a living process serves from here; empty where there is none."""
        with contextlib.suppress(OSError, ValueError), self.lock.open() as file:
            if not try_lock(file.fileno(), fcntl.LOCK_SH):
                return "".join(file.readline().split()[1:])  # of one that has not said it: ""
        return ""

    def log(self, service: str) -> Path:
        """Where a service writes."""
        return self.logs / f"{service}.log"


def default_home() -> Path:
    """The folder where nobody names one."""
    named = os.environ.get(VARIABLE)
    return Path(named).absolute() if named else user_data_path("meldflow", appauthor=False)


@contextlib.contextmanager
def open_home(path: Path, api: str) -> Iterator[Home]:
    """Makes the folder and holds it: one data base has one server.

    Others find there which API will be served.

    Raises:
        UsageError: it cannot be written, or somebody else has it.
    """
    home = Home(path.absolute())
    try:
        for folder in (home.prefect, home.dask, home.logs):
            folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home.path) as probe:
            probe.write(bytes(ROOM))
        descriptor = os.open(home.lock, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise unwritable(home, error) from error
    try:
        _take(descriptor, home)
        # In one piece, over what the last holder wrote: others read at any moment.
        os.pwrite(descriptor, f"{os.getpid()} {api}\n".encode(), 0)
        yield home
    finally:
        os.close(descriptor)


def unwritable(home: Home, error: OSError) -> UsageError:
    """What to say to somebody whose home cannot be used."""
    return UsageError(
        f"home {home.path}: cannot be written ({error.strerror}); name another with --home or in "
        f"{VARIABLE}"
    )


def try_lock(descriptor: int, kind: int) -> bool:
    """Takes a lock of a file, unless that would mean to wait for somebody else's."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(descriptor: int, home: Home) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not try_lock(descriptor, fcntl.LOCK_EX):
        if time.monotonic() > deadline:
            process = os.pread(descriptor, 20, 0).decode(errors="replace").partition(" ")[0]
            raise UsageError(
                f"home {home.path}: `meldflow up` is running on it already (process "
                f"{process or 'unknown'}); stop that one, or name another folder with --home"
            )
        time.sleep(0.05)
