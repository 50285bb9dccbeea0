"""A store that is away for a minute costs time and nothing else.

Icechunk tries a request again by itself, but gives up once a hundred tries in all have failed,
which some requests at once use up within seconds.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Literal, TypeVar

import icechunk
import zarr
from icechunk import IcechunkStore
from obstore.exceptions import BaseError
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

T = TypeVar("T")

PATIENCE = 150.0
"""Seconds, from the first failure, after which a store that is away is given up."""
BETWEEN_TRIES = 2.0

FAULTS = (OSError, BaseError, icechunk.IcechunkError)
"""What goes wrong with a place; what obstore does not find is an ``OSError``."""

AWAY = (
    *("dispatch failure", "response error", "timeout", "timed out", "HTTP error"),
    *("InternalError", "ServiceUnavailable", "SlowDown"),
)
"""What is said of a server that nobody reaches, or that cannot answer for the moment."""
FOR_GOOD = ("credentials",)


class _Patience:
    """What is left of it."""

    def __init__(self) -> None:
        self._end: float | None = None

    def pause(self, fault: Exception) -> float:
        """Seconds until the next try.

        Raises:
            Exception: the fault, where waiting does not help, or did not.
        """
        said, now = str(fault), time.monotonic()
        self._end = self._end or now + PATIENCE
        is_away = any(one in said for one in AWAY) and not any(one in said for one in FOR_GOOD)
        if not is_away or now > self._end:
            raise fault
        return BETWEEN_TRIES


def patiently(action: Callable[[], T]) -> T:
    """What ``action`` gives: it talks to a store, and is tried again while that is away.

    Raises:
        Exception: what it ended in, where waiting does not help, or did not.
    """
    patience = _Patience()
    while True:
        try:
            return action()
        except FAULTS as error:
            fault = error
        time.sleep(patience.pause(fault))


@contextlib.contextmanager
def unless(done: Callable[[], bool]) -> Iterator[None]:
    """Forgives a failure of the body where it has come to pass: its answer was lost, no more."""
    try:
        yield
    except icechunk.IcechunkError:
        if not done():
            raise


async def _patiently(action: Callable[[], Awaitable[T]]) -> T:
    patience = _Patience()
    while True:
        try:
            return await action()
        except FAULTS as error:
            fault = error
        await asyncio.sleep(patience.pause(fault))


class _PatientStore(WrapperStore[IcechunkStore]):
    """A session's store, whose every request is patient."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return await _patiently(lambda: self._store.get(key, prototype, byte_range))

    async def exists(self, key: str) -> bool:
        return await _patiently(lambda: self._store.exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        await _patiently(lambda: self._store.set(key, value))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        await _patiently(lambda: self._store.set_if_not_exists(key, value))

    async def delete(self, key: str) -> None:
        await _patiently(lambda: self._store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        await _patiently(lambda: self._store.delete_dir(prefix))

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        async def listed() -> list[str]:
            return [one async for one in self._store.list_dir(prefix)]

        for one in await _patiently(listed):
            yield one


def patient(session: icechunk.Session | icechunk.ForkSession) -> Store:
    """What a session holds, for Zarr."""
    return _PatientStore(session.store)


def open_root(session: icechunk.Session, mode: Literal["r", "r+"] = "r") -> zarr.Group:
    """All that a session holds."""
    return zarr.open_group(patient(session), mode=mode)
