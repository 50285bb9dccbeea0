"""A store that is away for a minute costs time and nothing else.

Icechunk tries a request again by itself, but gives up once a hundred tries in all have failed,
which some requests at once use up within seconds.
"""

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal, TypeVar, cast

import icechunk
import zarr
from icechunk import IcechunkStore
from obstore.exceptions import BaseError
from zarr.abc.store import Store
from zarr.storage import WrapperStore

T = TypeVar("T")

PATIENCE = 90.0
"""Seconds, from the first failure, after which a store that is away is given up."""
BETWEEN_TRIES = 2.0

ICECHUNK = (icechunk.IcechunkError, icechunk.ConflictError)
"""What Icechunk raises; none is a kind of the other."""
FAULTS = (OSError, BaseError, *ICECHUNK)
"""What goes wrong with a place; what obstore does not find is an ``OSError``."""

AWAY = (
    *("dispatch failure", "response error", "streaming error", "timed out", "HTTP error"),
    *("InternalError", "ServiceUnavailable", "SlowDown"),
)
"""What is said of a server that nobody reaches, or that cannot answer for the moment."""
FOR_GOOD = ("credentials",)

logger = logging.getLogger("meldflow.store")


class _Patience:
    """What is left of it; around a try, it forgives a fault after which another one may help."""

    def __init__(self) -> None:
        self._end: float | None = None

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: object, fault: BaseException | None, __: object) -> bool:
        said, now = str(fault), time.monotonic()
        is_away = any(one in said for one in AWAY) and not any(one in said for one in FOR_GOOD)
        if not (isinstance(fault, FAULTS) and is_away) or now > (self._end or now + PATIENCE):
            return False
        if self._end is None:
            logger.warning("the store cannot be reached; trying for %.0f s", PATIENCE)
            self._end = now + PATIENCE
        return True


def patiently(action: Callable[[], T]) -> T:
    """What ``action`` gives: it talks to a store, and is tried again while that is away.

    Raises:
        Exception: what it ended in, where waiting does not help, or did not.
    """
    patience = _Patience()
    while True:
        with patience:
            return action()
        time.sleep(BETWEEN_TRIES)


@contextlib.contextmanager
def unless(done: Callable[[], bool]) -> Iterator[None]:
    """Forgives a failure of the body where it has come to pass: its answer was lost, no more."""
    try:
        yield
    except ICECHUNK:
        if not done():
            raise


async def _patiently(action: Callable[[], Awaitable[T]]) -> T:
    patience = _Patience()
    while True:
        with patience:
            return await action()
        await asyncio.sleep(BETWEEN_TRIES)


class _Patient:
    """A store whose every request is patient."""

    def __init__(self, store: IcechunkStore) -> None:
        self._store = store

    def __reduce__(self) -> tuple[Any, ...]:
        return _Patient, (self._store,)  # else a copy in the making would be asked for its store

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if not inspect.iscoroutinefunction(found):
            return found
        return lambda *given, **named: _patiently(lambda: found(*given, **named))


def patient(session: icechunk.Session | icechunk.ForkSession) -> Store:
    """What a session holds, for Zarr."""
    return WrapperStore(cast("IcechunkStore", _Patient(session.store)))


def open_root(session: icechunk.Session, mode: Literal["r", "r+"] = "r") -> zarr.Group:
    """All that a session holds."""
    return zarr.open_group(patient(session), mode=mode)
