"""Whether a store is at an address, a new one, and who may write to it."""

import contextlib
import time
from collections.abc import Callable, Iterator

import icechunk

from meldflow.models.schema.errors import BusyError, UsageError
from meldflow.storage.places.branches import root_of
from meldflow.storage.places.leaving import end_well
from meldflow.storage.places.patience import patiently
from meldflow.storage.places.place import Lock, place_of

SCHEMA = 3
"""Version of the layout; a store of another version is refused, never guessed at. It stays where a
release adds a column or a field with a default, and rises where an older one would read wrongly."""

BETWEEN_TRIES = 2.0
"""Seconds between two tries to take the lock of a busy store."""

REMEMBERED = 250_000
"""Places of chunks, some 90 bytes each, that Icechunk keeps in memory; every commit lists all those
of an array anew. By itself it keeps fifteen million. A store of 100,000 utterances has 20,000."""

# Icechunk warns at every open that a local disk is unsafe for concurrent commits; our lock is the
# answer to it, so the line would only worry people.
icechunk.set_logs_filter("icechunk=error")
end_well()


def exists(url: str) -> bool:
    """Whether a store is there. Creates nothing."""
    return place_of(url).holds_store()


def create(url: str, *, partition: int) -> None:
    """A new, empty store: there whole, or not at all.

    Args:
        url: a folder that does not exist or is empty, or ``s3://bucket/name``.
        partition: consecutive utterances per partition, fixed for the store's life.

    Raises:
        UsageError: something else is there, or it cannot be written.
    """
    place = place_of(url)
    place.check_vacant()
    place.create({"schema": SCHEMA, "partition": partition})


def open_repository(url: str) -> icechunk.Repository:
    """The repository of an existing store.

    Raises:
        UsageError: no store is there, or it is one of another schema.
    """
    place = place_of(url)
    if not place.holds_store():
        raise UsageError(f"store {place.name}: no store is here; `meldflow extract` creates one")
    config = icechunk.RepositoryConfig(caching=icechunk.CachingConfig(num_chunk_refs=REMEMBERED))
    with place.explained("cannot be read"):
        repository = patiently(lambda: icechunk.Repository.open(place.storage(), config))
        try:
            root = root_of(repository, "main")
        except FileNotFoundError:
            raise UsageError(f"store {place.name}: it is damaged; its root is gone") from None
    found = root.attrs.get("schema")
    if found != SCHEMA:
        is_newer = isinstance(found, int) and found > SCHEMA
        cure = "a newer one wrote it: update" if is_newer else "extract into a new store"
        raise UsageError(
            f"store {place.name}: its layout is {found!r}, this meldflow reads {SCHEMA}; {cure}"
        )
    return repository


@contextlib.contextmanager
def writer_lock(
    url: str, *, wait: float = 0.0, say: Callable[[str], None] = lambda _: None
) -> Iterator[Lock]:
    """Holds the store for one writer; readers need no lock.

    Args:
        url: the store's folder, or ``s3://bucket/name``.
        wait: how long to wait for another writer, seconds.
        say: told, in one line and once, if there is one to wait for.

    Raises:
        BusyError: another run holds it still; the message says who.
        UsageError: it cannot be written.
    """
    deadline, said = time.monotonic() + wait, False
    with contextlib.ExitStack() as stack:
        while True:
            try:
                lock = stack.enter_context(place_of(url).lock())
                break
            except BusyError as error:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise
                if not said:
                    say(f"{error}; waiting, {left:.0f} s at most")
                    said = True
                time.sleep(min(left, BETWEEN_TRIES))
        yield lock


@contextlib.contextmanager
def locked(url: str) -> Iterator[tuple[icechunk.Repository, Lock]]:
    """The repository of an existing store, held for one writer.

    Raises:
        UsageError: no store is there (and no lock is left for it), or see ``writer_lock``.
    """
    open_repository(url)
    with writer_lock(url) as lock:
        yield open_repository(url), lock


def check_writable(url: str, *, wait: float = 0.0) -> None:
    """Finds out whether a run could write to ``url``, without creating a store.

    Args:
        url: the store.
        wait: seconds that the run would wait for another one; this one waits for none.

    Raises:
        UsageError: it could not; the message says why.
    """
    place = place_of(url)
    if not place.holds_store():  # and nothing is left where none will be
        place.check_vacant()
        place.check_writable()
        return
    open_repository(url)
    with contextlib.suppress(*[BusyError] if wait else ()), place.lock():
        place.check_writable()
