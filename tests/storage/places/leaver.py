"""Reads a store and ends at the worst moment: Icechunk's threads still wake Zarr's event loop."""

from __future__ import annotations

import asyncio.selector_events
import atexit
import threading
import time
from typing import Any

import zarr

from meldflow.storage.places import leaving, location

_wake_up = asyncio.selector_events.BaseSelectorEventLoop._write_to_self  # type: ignore[attr-defined]


def _slowly(self: Any) -> None:
    _wake_up(self)
    if isinstance(threading.current_thread(), threading._DummyThread):  # one of Icechunk's
        for _ in range(200):  # gives the interpreter's lock away, as the socket's send does
            time.sleep(0.001)


def main(store: str, *, cured: bool) -> None:
    """Reads the store and ends, with or without what ``meldflow.storage.places.leaving`` does."""
    if not cured:
        atexit.unregister(leaving._let_them_finish)
    asyncio.selector_events.BaseSelectorEventLoop._write_to_self = _slowly  # type: ignore[attr-defined]
    session = location.open_repository(store).readonly_session("main")
    zarr.open_group(session.store, mode="r")
    print("read")
