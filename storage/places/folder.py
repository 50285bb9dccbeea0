"""A store in a folder of a local disk.

Icechunk has no compare-and-swap on a local disk and then loses commits silently (measured: 77
of 240 with 16 committers), so a writer holds a lock of the kernel's for the whole run.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import icechunk
import psutil

from meldflow.models.schema.errors import UsageError
from meldflow.storage.places.place import Holder, Lock, Place, create_root

logger = logging.getLogger("meldflow.store")

NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "lustre", "ceph"})
"""File systems on which a lock of one machine may not hold for another."""


class Folder(Place):
    """A folder, which need not be there yet."""

    def __init__(self, url: str) -> None:
        path = url.removeprefix("file://")
        # Resolved, since the lock lies beside it: two names of one store must not mean two locks.
        self.path = Path(path).expanduser().resolve()
        self.name = str(self.path)

    def storage(self) -> icechunk.Storage:
        """What Icechunk reads and writes through."""
        return icechunk.local_filesystem_storage(str(self.path))

    def holds_store(self) -> bool:
        """Whether a repository is there. Icechunk's own check would make the folder."""
        with self.explained("cannot be read"):
            return self.path.is_dir() and self.holds_repository()

    def contains(self, path: Path) -> bool:
        """Whether a file at ``path`` would lie inside the store."""
        return self.path.resolve() in path.resolve().parents

    def check_vacant(self) -> None:
        """Refuses a file, and a folder that holds something."""
        if self.path.exists() and not self.path.is_dir():
            raise UsageError(f"store {self.name}: this is a file; name a folder for the store")
        if self.path.is_dir() and any(self.path.iterdir()):
            raise UsageError(f"store {self.name}: the folder holds other files; name a new folder")

    def check_writable(self) -> None:
        """Refuses a folder that this process may not write to; warns of network file systems."""
        nearest = next(one for one in (self.path, *self.path.parents) if one.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise UsageError(
                f"store {self.name}: {nearest} cannot be written; choose another folder"
            )
        if (kind := _file_system(nearest)) in NETWORK:
            logger.warning(
                "store %s is on a network file system (%s), whose locks may not hold between "
                "machines: start runs from one machine only, or use s3://",
                self.name,
                kind,
            )

    def create(self, attributes: Mapping[str, Any]) -> None:
        """Makes a new, empty store.

        Under another name, and renamed: a process killed on the way leaves no half store.
        """
        draft = self.path.with_name(f".{self.path.name}.creating")
        with self.explained("cannot be created"):
            shutil.rmtree(draft, ignore_errors=True)
            draft.mkdir(parents=True)
            create_root(icechunk.local_filesystem_storage(str(draft)), attributes)
            draft.replace(self.path)

    @contextlib.contextmanager
    def lock(self) -> Iterator[Lock]:
        """Locks ``<store>.lock`` beside the store: Icechunk wants an empty folder for a new one.

        The kernel frees it when its holder dies, also by SIGKILL.
        """
        with self.explained("cannot be written"):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock_file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            me = self._take(descriptor)
            try:
                yield Lock()  # nobody can take it away
            finally:
                _write(descriptor, replace(me, pid=0))
        finally:
            os.close(descriptor)

    def writer(self) -> Holder | None:
        """Who holds the lock, by its own word."""
        with contextlib.suppress(OSError):
            holder = Holder.read(self._lock_file.read_bytes())
            return None if holder is None or holder.is_gone else holder
        return None

    @property
    def _lock_file(self) -> Path:
        return self.path.with_name(f"{self.path.name}.lock")

    def _take(self, descriptor: int) -> Holder:
        for _ in range(100):
            with contextlib.suppress(BlockingIOError):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            holder = Holder.read(os.pread(descriptor, 1000, 0))
            if holder is not None and holder.pid:
                raise holder.refusal(self.name)
            time.sleep(0.01)  # it takes the lock right now, or gives it back
        else:
            raise Holder(pid=0, host="an unknown host", since="just now").refusal(self.name)
        with self.explained("cannot be written"):
            me = Holder.me()
            _write(descriptor, me)
        return me


def _write(descriptor: int, holder: Holder) -> None:
    content = holder.to_json()
    # Cut afterwards, so that whoever is refused at this moment does not find it empty.
    os.pwrite(descriptor, content, 0)
    os.ftruncate(descriptor, len(content))


def _file_system(path: Path) -> str:
    """Kind of the file system that ``path`` is on, as the kernel calls it; empty if unknown."""
    kinds = {one.mountpoint: one.fstype for one in psutil.disk_partitions(all=True)}
    place = path.resolve()
    return next((kinds[str(one)] for one in (place, *place.parents) if str(one) in kinds), "")
