"""A store on S3 or anything that speaks its protocol.

Icechunk swaps its references there by compare-and-swap, so that no commit is ever lost. What is
left for a lock is that two runs do not do the same work: an object that is created if nobody
has, renewed while its holder lives, and taken over once it has not been for a while.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

import icechunk
import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store

from meldflow.models.schema.errors import BusyError, RunError, UsageError
from meldflow.storage.places.place import Holder, Lock, Place, create_root

BEAT = 10.0
"""Seconds between two renewals of a lock."""
LEASE = 60.0
"""Seconds after which a lock that was not renewed belongs to nobody. Clocks of the server and of
the machine that asks may differ by what is left when a renewal or two fail."""


FAULTS = (OSError, BaseError, icechunk.IcechunkError)
"""What goes wrong with a bucket; what obstore does not find is an ``OSError``."""


class Bucket(Place):
    """A name in a bucket: ``s3://bucket/name``.

    Credentials, region and endpoint come from the usual environment (``AWS_ACCESS_KEY_ID``,
    ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION``, ``AWS_ENDPOINT_URL``), or from
    the machine's role.
    """

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")
        self.bucket, _, self.prefix = self.name.removeprefix("s3://").partition("/")
        if not self.bucket or not self.prefix:
            raise UsageError(f"store {url}: name a place in a bucket, like s3://bucket/meld-store")
        get = os.environ.get
        self.endpoint = get("AWS_ENDPOINT_URL_S3") or get("AWS_ENDPOINT_URL") or ""
        self.region = get("AWS_REGION") or get("AWS_DEFAULT_REGION") or "us-east-1"
        self.is_plain = self.endpoint.startswith("http://")

    def storage(self) -> icechunk.Storage:
        """What Icechunk reads and writes through."""
        return icechunk.s3_storage(
            bucket=self.bucket,
            prefix=self.prefix,
            region=self.region,
            endpoint_url=self.endpoint or None,
            allow_http=self.is_plain,
            force_path_style=self.endpoint != "",
            from_env=True,
        )

    def holds_store(self) -> bool:
        """Whether a repository is there, with its first commit."""
        with self.explained("cannot be reached"):
            if not self.holds_repository():
                return False
            repository = icechunk.Repository.open(self.storage())
            history = repository.ancestry(branch="main")
            # A process killed between a repository's creation and its first commit leaves one
            # that holds nothing; it counts for none and is completed by the next.
            return next(history).parent_id is not None

    def check_vacant(self) -> None:
        """Refuses a name below which something lies that is no store."""
        with self.explained("cannot be reached", of=FAULTS):
            listed = obstore.list_with_delimiter(self._objects(), f"{self.prefix}/")
            is_repository = self.holds_repository()
        if not is_repository and (listed["objects"] or listed["common_prefixes"]):
            raise UsageError(f"store {self.name}: other objects lie below it; choose another name")

    def check_writable(self) -> None:
        """Nothing: the lock, which every writer takes first, is an object that is written."""

    def create(self, attributes: Mapping[str, Any]) -> None:
        """Makes a new, empty store, or completes one whose maker died."""
        with self.explained("cannot be created"):
            create_root(self.storage(), attributes)

    @contextlib.contextmanager
    def lock(self) -> Iterator[Lease]:
        """Holds the object ``<name>.lock``."""
        with self.explained("cannot be written", of=FAULTS):
            lease = Lease(self._objects(), f"{self.prefix}.lock", self.name)
        with lease.renewed():
            yield lease

    def _objects(self) -> S3Store:
        config: dict[str, Any] = {"region": self.region}
        if self.endpoint:
            config |= {"endpoint": self.endpoint, "virtual_hosted_style_request": False}
        return S3Store(
            self.bucket,
            config=config,  # type: ignore[arg-type]  # its keys are declared one by one
            client_options={"allow_http": self.is_plain},
            retry_config={"max_retries": 3, "retry_timeout": datetime.timedelta(seconds=20)},
        )


class Lease(Lock):
    """A lock that has to be renewed."""

    def __init__(self, objects: S3Store, key: str, place: str) -> None:
        self._objects, self._key, self._place = objects, key, place
        self._holder = Holder.me()
        self._content = self._holder.to_json()
        self._lost = False
        self._renewed = time.monotonic()
        self._tag = self._take()

    def check(self) -> None:
        """Finds out whether it is still held.

        Raises:
            RunError: another run took it over, or may have: it was not renewed in time.
        """
        if self._lost:
            raise RunError(
                f"store {self._place}: its lock was not renewed in time, and another run took the "
                "store over; run again once that has ended"
            )
        if time.monotonic() - self._renewed > LEASE:
            raise RunError(
                f"store {self._place}: its lock could not be renewed for {LEASE:g} s; what was "
                "committed is kept: run again once the store can be reached"
            )

    @contextlib.contextmanager
    def renewed(self) -> Iterator[None]:
        """Renews the lock while the body runs, then gives it back."""
        ended = threading.Event()
        thread = threading.Thread(target=self._renew, args=(ended,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
            if not self._lost:
                with contextlib.suppress(*FAULTS):  # it runs out by itself
                    obstore.delete(self._objects, self._key)

    def _take(self) -> str:
        try:
            return _put(self._objects, self._key, self._content, "create")
        except AlreadyExistsError:
            found = self._abandoned()
        try:
            return _put(self._objects, self._key, self._content, {"e_tag": found})
        except (PreconditionError, FileNotFoundError):
            raise BusyError(f"store {self._place}: another run has just begun; wait") from None

    def _abandoned(self) -> str:
        """The tag of a lock that nobody holds any more."""
        try:
            found = obstore.get(self._objects, self._key)
        except FileNotFoundError:
            raise BusyError(f"store {self._place}: another run has just ended; try again") from None
        holder = Holder.read(bytes(found.bytes()))
        age = datetime.datetime.now(datetime.UTC) - found.meta["last_modified"]
        if holder is not None and not holder.is_dead and age.total_seconds() < LEASE:
            raise holder.refusal(self._place)
        return str(found.meta["e_tag"])

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT) and not self._lost:
            with contextlib.suppress(*FAULTS):  # a bad moment: the next may do better
                self._beat()

    def _beat(self) -> None:
        began = time.monotonic()
        try:
            self._tag = _put(self._objects, self._key, self._content, {"e_tag": self._tag})
        except (PreconditionError, FileNotFoundError):
            self._adopt()
        self._renewed = began

    def _adopt(self) -> None:
        """Finds out whose the lock is: a renewal may have come through, and its answer not."""
        try:
            found = obstore.get(self._objects, self._key)
            holder = Holder.read(bytes(found.bytes()))
        except FileNotFoundError:
            holder = None
        self._lost = holder != self._holder
        if not self._lost:
            self._tag = str(found.meta["e_tag"])


def _put(objects: S3Store, key: str, content: bytes, mode: Any) -> str:
    return str(obstore.put(objects, key, content, mode=mode)["e_tag"])
