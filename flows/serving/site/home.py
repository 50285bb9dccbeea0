"""Where a running `meldflow up` keeps its data base, its logs and its state."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

from meldflow.models.files import write_atomically
from meldflow.models.schema.errors import UsageError


@dataclass(frozen=True, slots=True)
class Home:
    """The folder of one `up`."""

    path: Path

    @property
    def prefect(self) -> Path:
        """Prefect's own home: the data base with every run."""
        return self.path / "prefect"

    @property
    def dask(self) -> Path:
        """What workers spill when their memory is full."""
        return self.path / "dask"

    @property
    def profile(self) -> Path:
        """The cluster profile that flows join the workers by."""
        return self.path / "cluster.yaml"

    def log(self, service: str) -> Path:
        """Where a service writes what it has to say."""
        return self.path / "logs" / f"{service}.log"


def default_home() -> Path:
    """The folder where nobody names one."""
    return user_data_path("meldflow", appauthor=False)


@contextlib.contextmanager
def open_home(path: Path) -> Iterator[Home]:
    """Makes the folder and holds it: one data base serves one `up`.

    Raises:
        UsageError: it cannot be written, or another `up` has it.
    """
    home = Home(path.absolute())
    try:
        for folder in (home.prefect, home.dask, home.log("any").parent):
            folder.mkdir(parents=True, exist_ok=True)
        write_atomically(home.path / ".writable", b"")
        descriptor = os.open(home.path / "up.lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UsageError(
            f"home {home.path}: cannot be written ({error.strerror}); name another with --home"
        ) from error
    try:
        _take(descriptor, home)
        yield home
    finally:
        os.close(descriptor)


def _take(descriptor: int, home: Home) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        process = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
        raise UsageError(
            f"home {home.path}: `meldflow up` is running on it already (process {process}); stop "
            "that one, or name another folder with --home"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
