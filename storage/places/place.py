"""What a place has to offer, and which kind of place an address names."""

import contextlib
import os
import pkgutil
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self

import icechunk
import psutil
import zarr
from pydantic import TypeAdapter, ValidationError
from pydantic_core import to_json

from meldflow.models.schema.errors import BusyError, MeldflowError, UsageError
from meldflow.storage.places.patience import ICECHUNK

PLACES = {
    "file": "meldflow.storage.places.folder:Folder",
    "s3": "meldflow.storage.places.bucket:Bucket",
}
"""Scheme of an address → the class of its places; a plain path is a ``file``."""


NO_CREDENTIALS = "no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
UNCONDITIONAL = "501 Not Implemented"

SAID = {
    "NoSuchBucket": "there is no such bucket",
    "AccessDenied": "access is denied: check the credentials and what they may do",
    "InvalidAccessKeyId": "the access key is unknown: check AWS_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "wrong AWS_SECRET_ACCESS_KEY, or a proxy that changes requests",
    "169.254.169.254": NO_CREDENTIALS,
    "credentials": NO_CREDENTIALS,
    "Connection refused": "nobody answers: check AWS_ENDPOINT_URL",
    UNCONDITIONAL: (
        "the server has no conditional writes (If-None-Match, If-Match), without which two runs "
        "could write at once; choose another server, or a folder"
    ),
}
"""What S3 and the network say → what to do about it."""


class Lock:
    """The right to write to a store, as long as it is held."""

    def check(self) -> None:
        """Finds out whether it is still held.

        Raises:
            RunError: somebody else has it now.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who holds a lock."""

    pid: int
    host: str
    since: str
    """Local time of its host, ISO 8601."""
    machine: str = ""
    """What tells its process ids from those of other machines and containers."""
    token: str = ""
    """Drawn for this one holding of the lock."""
    server: str = ""
    """The S3 server whose conditional writes were seen to work for this lock."""

    @classmethod
    def me(cls) -> Self:
        """This process."""
        return cls(
            pid=os.getpid(),
            host=socket.gethostname(),
            since=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            machine=_machine(),
            token=uuid.uuid4().hex,
        )

    @classmethod
    def read(cls, content: bytes) -> Self | None:
        """The holder that was written down; None where nothing can be made of it."""
        try:  # another release may know more of its holders
            return TypeAdapter(cls).validate_json(content)
        except ValidationError:  # it is just being written
            return None

    def to_json(self) -> bytes:
        """As it is written down."""
        return to_json(self)

    def refusal(self, place: str) -> BusyError:
        """What somebody else is told."""
        who = f"process {self.pid} on {self.host}, since {self.since}"
        return BusyError(
            f"store {place}: another run is writing to it ({who}); wait for it or stop it"
        )

    @property
    def is_gone(self) -> bool:
        """Whether it gave the lock back, or ran where this process could see it, and runs no more.

        Who gives it back writes 0 for its ``pid``.
        """
        is_near = self.machine != "" and self.machine == _machine()
        return self.pid == 0 or (is_near and not psutil.pid_exists(self.pid))


class Place(Protocol):
    """Where one store lies, or could lie."""

    name: str
    """What messages call it: a path or an address."""

    def storage(self) -> icechunk.Storage:
        """What Icechunk reads and writes through."""

    def holds_store(self) -> bool:
        """Whether a repository is there. Creates nothing."""

    def contains(self, path: Path) -> bool:
        """Whether a file at ``path`` would lie inside the store."""
        return False

    def check_vacant(self) -> None:
        """Finds out whether a new store may be put here.

        Raises:
            UsageError: something else is here.
        """

    def check_writable(self) -> None:
        """Finds out whether this process may write here, without leaving anything.

        Raises:
            UsageError: it may not.
        """

    def create(self, attributes: Mapping[str, Any]) -> None:
        """Makes a new, empty store with these attributes: there whole, or not at all.

        Raises:
            UsageError: this process may not write here.
        """

    def writer(self) -> Holder | None:
        """Who holds the store now, as far as can be told."""

    def lock(self) -> AbstractContextManager[Lock]:
        """Holds the store for one writer; readers need no lock.

        Raises:
            BusyError: somebody else holds it; the message names the holder.
            UsageError: this process may not write here.
        """

    @contextlib.contextmanager
    def explained(
        self,
        what: str,
        kind: type[MeldflowError] = UsageError,
        of: tuple[type[Exception], ...] = (OSError, *ICECHUNK),
    ) -> Iterator[None]:
        """Turns what the disk, the network or Icechunk says inside into one line of ours.

        Raises:
            MeldflowError: of ``kind``, for an error ``of`` these kinds.
        """
        try:
            yield
        except of as error:
            raise kind(f"store {self.name}: {what} ({_cause(error)})") from error

    def holds_repository(self) -> bool:
        """Whether Icechunk's files are there.

        Raises:
            UsageError: a newer Icechunk wrote them, whose format this one cannot read.
        """
        if icechunk.Repository.exists(self.storage()):
            return True
        try:
            icechunk.Repository.open(self.storage())
        except icechunk.IcechunkError as error:
            if "upgrade the icechunk library" in str(error):
                raise UsageError(
                    f"store {self.name}: Icechunk 2 wrote it, whose format Icechunk "
                    f"{icechunk.__version__} cannot read: use meldflow under Python 3.12 or later"
                ) from None
        return False


def _machine() -> str:
    """This boot of this machine and this name space of process ids; empty if unknown.

    A host's name does not do: containers may share one, each with process ids of its own.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115
    except OSError:
        return ""


def place_of(url: str) -> Place:
    """The place that an address names.

    Raises:
        UsageError: no store can lie there.
    """
    scheme, mark, _ = url.partition("://")
    target = PLACES.get(scheme if mark else "file")
    if target is None:
        known = ", ".join(f"{name}://" for name in PLACES)
        raise UsageError(f"store {url}: no store can lie there; give a path, or {known}")
    place: Place = pkgutil.resolve_name(target)(url)
    return place


def create_root(storage: icechunk.Storage, attributes: Mapping[str, Any]) -> None:
    """The first commit of a store, in a new repository or in one whose maker died before it."""
    if icechunk.Repository.exists(storage):
        repository = icechunk.Repository.open(storage)
    else:  # in the format that Icechunk 1 reads, too: Python 3.11 has no other
        oldest: Any = {} if icechunk.__version__.startswith("1.") else {"spec_version": 1}
        repository = icechunk.Repository.create(storage, **oldest)
    session = repository.writable_session("main")
    zarr.create_group(session.store, attributes=dict(attributes))
    session.commit("create the store")


def _cause(error: Exception) -> str:
    """What is behind an error, in words where we have some; else its first line."""
    text = str(getattr(error, "strerror", None) or error)
    told = (words for code, words in SAID.items() if code in text)
    first = text.strip().partition("\n")[0].removeprefix("x ").strip()
    return next(told, first[:200])
