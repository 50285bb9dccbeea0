"""A store on S3 or anything that speaks its protocol.

Icechunk swaps its references there by compare-and-swap, so that no commit is ever lost. What is
left for a lock is that two runs do not do the same work: an object that is written only as long as
it is what its writer saw last, renewed while its holder lives, and taken over by who has seen it
unchanged for a while, by a clock of one's own.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import icechunk
import obstore
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store

from meldflow.models.schema.errors import BusyError, RunError, UsageError
from meldflow.storage.places.branches import tip_of
from meldflow.storage.places.patience import FAULTS, patiently
from meldflow.storage.places.place import SAID, UNCONDITIONAL, Holder, Lock, Place, create_root

BEAT = 5.0
"""Seconds between two renewals of a lock."""
LEASE = 90.0
"""Seconds for which it is seen unchanged before somebody else takes it over. The store may be away
for a minute of them."""
BETWEEN_LOOKS = 1.0

CHANGED = (AlreadyExistsError, PreconditionError, FileNotFoundError)
"""What a conditional write ends in where the object is not what it should be."""

logger = logging.getLogger("meldflow.store")


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
            if not patiently(self.holds_repository):
                return False
            repository = patiently(lambda: icechunk.Repository.open(self.storage()))
            # A process killed between a repository's creation and its first commit leaves one
            # that holds nothing; it counts for none and is completed by the next.
            return tip_of(repository, "main").parent_id is not None

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
            patiently(lambda: create_root(self.storage(), attributes))

    @contextlib.contextmanager
    def lock(self) -> Iterator[Lease]:
        """Holds the object ``<name>.lock``."""
        with self.explained("cannot be written", of=FAULTS):
            lease = Lease(self, self._objects(), f"{self.prefix}.lock")
            patiently(lease.take)
        with lease.renewed():
            yield lease

    def writer(self) -> Holder | None:
        """Who holds the lock, as far as can be told."""
        with self.explained("cannot be reached", of=FAULTS):
            seen = _look(self._objects(), f"{self.prefix}.lock")
        return seen.holder if seen and seen.is_held else None

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


class _Seen(NamedTuple):
    """A lock as it was seen at one moment; every renewal makes another one of it."""

    holder: Holder | None
    """None where nothing can be made of it."""
    tag: str
    written: datetime.datetime
    """By the server's clock, which is compared with no other one."""

    @property
    def is_held(self) -> bool:
        return self.holder is not None and not self.holder.is_gone


class Lease(Lock):
    """A lock that has to be renewed."""

    def __init__(self, place: Bucket, objects: S3Store, key: str) -> None:
        self._place, self._objects, self._key = place.name, objects, key
        self._holder = Holder.me()
        self._tag = ""
        self._lost = False
        self._renewed = time.monotonic()
        self._server = place.endpoint or "Amazon S3"

    def take(self) -> None:
        """Takes the lock, if nobody holds it; waits for as long as it takes to be sure.

        Raises:
            BusyError: somebody does.
            UsageError: the server has no conditional writes.
        """
        seen = self._unheld()
        proven = seen is not None and seen.holder is not None and seen.holder.server == self._server
        self._tag = seen.tag if seen else ""
        self._holder = replace(self._holder, server=self._server if proven else "")
        self._beat()
        if self._lost:
            raise BusyError(f"store {self._place}: another run has just begun; wait")
        if not proven:
            self._prove()
            self._holder = replace(self._holder, server=self._server)
            self._beat()

    def check(self) -> None:
        """Finds out whether it is still held.

        Raises:
            RunError: another run took it over, or may have: it cannot be renewed.
        """
        if time.monotonic() - self._renewed > LEASE and not self._lost:
            try:  # the store was away, for others as well, perhaps
                patiently(self._beat)
            except FAULTS:
                raise RunError(
                    f"store {self._place}: its lock could not be renewed for {LEASE:g} s; what was "
                    "committed is kept: run again once the store can be reached"
                ) from None
        if self._lost:
            raise RunError(
                f"store {self._place}: its lock was not renewed in time, and another run took the "
                "store over; run again once that has ended"
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
                # Not deleted, which S3 does whoever holds it.
                with contextlib.suppress(*FAULTS):  # it runs out by itself
                    self._put(replace(self._holder, pid=0, token=""))

    def _unheld(self) -> _Seen | None:
        """The lock that nobody holds, or this one since a try before; None before the first."""
        first = seen = _look(self._objects, self._key)
        began, warned = time.monotonic(), False
        while (
            seen and (other := seen.holder) and seen.is_held and other.token != self._holder.token
        ):
            unchanged = time.monotonic() - began
            if seen != first:
                raise other.refusal(self._place)
            if unchanged > LEASE:
                break
            if unchanged > 2 * BEAT and not warned:
                warned = True
                logger.warning(
                    "store %s: process %d on %s does not renew its lock; it runs out in %.0f s",
                    *(self._place, other.pid, other.host, LEASE - unchanged),
                )
            time.sleep(BETWEEN_LOOKS)
            seen = _look(self._objects, self._key)
        return seen

    def _prove(self) -> None:
        """Finds out whether the server refuses what it has to; known to all who take it later."""
        of_another: Any = {"e_tag": '"of another"'}
        for mode in ("create", of_another):
            with contextlib.suppress(*CHANGED):
                obstore.put(self._objects, self._key, self._holder.to_json(), mode=mode)
                obstore.delete(self._objects, self._key)
                raise UsageError(f"store {self._place}: {SAID[UNCONDITIONAL]}")

    def _renew(self, ended: threading.Event) -> None:
        while not ended.wait(BEAT) and not self._lost:
            with contextlib.suppress(*FAULTS):  # a bad moment: the next may do better
                self._beat()

    def _beat(self) -> None:
        began = time.monotonic()
        self._lost = not self._swap()
        self._renewed = began

    def _swap(self) -> bool:
        """Writes the lock if it is what it was; gives whether it is this one's now."""
        try:
            self._put(self._holder)
        except CHANGED:  # perhaps by an earlier try, whose answer was lost
            seen = _look(self._objects, self._key)
            if seen is None and not self._tag:
                raise  # the bucket is not there
            if seen is None or seen.holder is None or seen.holder.token != self._holder.token:
                return False
            self._tag = seen.tag
        return True

    def _put(self, holder: Holder) -> None:
        # Bare, as Icechunk sends it: Ceph's gateway refuses its own tags in their quotes.
        mode: Any = {"e_tag": self._tag.strip('"')} if self._tag else "create"
        self._tag = str(obstore.put(self._objects, self._key, holder.to_json(), mode=mode)["e_tag"])


def _look(objects: S3Store, key: str) -> _Seen | None:
    """The lock; None where there is none."""
    try:
        found = obstore.get(objects, key)
        holder, meta = Holder.read(bytes(found.bytes())), found.meta
        return _Seen(holder, str(meta["e_tag"]), meta["last_modified"])
    except FileNotFoundError:
        return None
