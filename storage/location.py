"""Where a store lies, whether it is one, and who may write to it.

A store is one Icechunk repository in a local folder. Icechunk has no compare-and-swap on a
local disk and then loses commits silently (measured: 77 of 240 with 16 committers), so a
writer holds a lock on the folder for the whole run.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import icechunk
import zarr

from models.schema import MeldflowError, UsageError

SCHEMA = 2
"""Version of the layout; a store of another version is refused, never guessed at."""

# Icechunk warns at every open that a local disk is unsafe for concurrent commits; the lock
# below is the answer to it, so the line would only worry people.
icechunk.set_logs_filter("icechunk=error")


def local_path(url: str) -> Path:
    """The folder that ``url`` names.

    Raises:
        UsageError: the address is not a local folder.
    """
    if url.startswith("file://"):
        url = url.removeprefix("file://")
    if "://" in url:
        raise UsageError(f"store {url}: only local folders can hold a store; give a path")
    return Path(url).expanduser().absolute()


def exists(url: str) -> bool:
    """Whether a store is there. Creates nothing (Icechunk's own check makes the folder)."""
    path = local_path(url)
    with explained(path, "cannot be read"):
        return path.is_dir() and icechunk.Repository.exists(_storage(path))


def create(url: str, *, partition: int) -> None:
    """A new, empty store: there whole, or not at all.

    Args:
        url: a folder that does not exist or is empty.
        partition: consecutive utterances per partition, fixed for the store's life.

    Raises:
        UsageError: something else is there, or the folder cannot be written.
    """
    path = local_path(url)
    _check_vacant(path)
    # Made under another name and renamed: a process killed on the way leaves no half store.
    draft = path.with_name(f".{path.name}.creating")
    with explained(path, "cannot be created"):
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        session = icechunk.Repository.create(_storage(draft)).writable_session("main")
        zarr.create_group(session.store, attributes={"schema": SCHEMA, "partition": partition})
        session.commit("create the store")
        draft.replace(path)


def open_repository(url: str) -> icechunk.Repository:
    """The repository of an existing store.

    Raises:
        UsageError: no store is there, or it is one of another schema.
    """
    path = local_path(url)
    if not exists(url):
        raise UsageError(f"store {path}: no store is here; `meldflow extract` creates one")
    with explained(path, "cannot be read"):
        repository = icechunk.Repository.open(_storage(path))
        root = zarr.open_group(repository.readonly_session("main").store, mode="r")
    found = root.attrs.get("schema")
    if found != SCHEMA:
        raise UsageError(
            f"store {path}: its schema is {found!r}, this meldflow reads {SCHEMA}; "
            "extract into a new folder, or use the version that wrote it"
        )
    return repository


@contextlib.contextmanager
def writer_lock(url: str) -> Iterator[None]:
    """Holds the store for one writing process; readers need no lock.

    The lock is on the file ``<store>.lock`` beside the store, since Icechunk creates a
    repository in an empty folder only. The kernel frees it when its holder dies, also by
    SIGKILL.

    Raises:
        UsageError: another process holds it (its name is in the message), or the folder
            cannot be written.
    """
    path = local_path(url)
    with explained(path, "cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path.with_name(f"{path.name}.lock"), os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(descriptor)
            raise UsageError(
                f"store {path}: another run is writing to it ({holder}); wait for it or stop it"
            ) from None
        with explained(path, "cannot be written"):
            holder = json.dumps({"pid": os.getpid(), "host": socket.gethostname()})
            # Cut afterwards, so that whoever is refused at this moment does not find it empty.
            os.pwrite(descriptor, holder.encode(), 0)
            os.ftruncate(descriptor, len(holder))
        yield
    finally:
        os.close(descriptor)


def _holder(descriptor: int) -> str:
    """The name in a lock; the first holder ever may not have written it yet."""
    for _ in range(100):
        if name := os.pread(descriptor, 1000, 0).decode(errors="replace").strip():
            return name
        time.sleep(0.01)
    return "unknown"


def check_writable(url: str) -> None:
    """Finds out whether a run could write to ``url``, without creating a store.

    Raises:
        UsageError: it could not; the message says why.
    """
    path = local_path(url)
    with writer_lock(url):
        if not exists(url):
            _check_vacant(path)
        else:
            open_repository(url)
        nearest = next(folder for folder in (path, *path.parents) if folder.exists())
        if not os.access(nearest, os.W_OK):
            raise UsageError(f"store {path}: {nearest} cannot be written; choose another folder")


def _check_vacant(path: Path) -> None:
    if path.exists() and not path.is_dir():
        raise UsageError(f"store {path}: this is a file; name a folder for the store")
    if path.is_dir() and any(path.iterdir()):
        raise UsageError(f"store {path}: the folder holds other files; name a new folder")


def _storage(path: Path) -> icechunk.Storage:
    return icechunk.local_filesystem_storage(str(path))


@contextlib.contextmanager
def explained(path: Path, what: str, kind: type[MeldflowError] = UsageError) -> Iterator[None]:
    """Turns what the disk or Icechunk says into one line of ours.

    Raises:
        MeldflowError: of ``kind``, for an OSError or an IcechunkError inside.
    """
    try:
        with icechunk_explained(path, what, kind):
            yield
    except OSError as error:
        raise kind(f"store {path}: {what} ({error.strerror or error})") from error


@contextlib.contextmanager
def icechunk_explained(
    path: Path, what: str, kind: type[MeldflowError] = UsageError
) -> Iterator[None]:
    """The same for Icechunk alone, around a block that may read other files as well.

    Raises:
        MeldflowError: of ``kind``, for an IcechunkError inside.
    """
    try:
        yield
    except icechunk.IcechunkError as error:
        cause = str(error).strip().splitlines()[0].removeprefix("x ").strip()
        raise kind(f"store {path}: {what} ({cause})") from error
