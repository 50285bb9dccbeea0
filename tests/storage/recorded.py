"""A store that notes which chunks are read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

from meldflow.storage import Snapshot, open_store


class RecordedStore(WrapperStore[Store]):
    """Reads through to ``store``; ``chunks`` holds the key and byte range of every chunk read."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self.chunks: list[tuple[str, str]] = []

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        if "/c/" in key:
            self.chunks.append((key, str(byte_range)))
        return await self._store.get(key, prototype, byte_range)

    def take(self, array: str) -> list[tuple[str, str]]:
        """What was read of ``array`` since the last call."""
        taken = [one for one in self.chunks if one[0].startswith(f"{array}/c/")]
        self.chunks = [one for one in self.chunks if one not in taken]
        return taken


@dataclass
class RecordedSession:
    """A session over a recorded store."""

    snapshot_id: str
    store: RecordedStore


def recorded(url: str, ref: str = "main") -> tuple[Snapshot, RecordedStore]:
    """A snapshot, and the record of what is read through it."""
    session = open_store(url, ref).session
    store = RecordedStore(session.store)
    session_like: Any = RecordedSession(session.snapshot_id, store)
    return Snapshot(url=url, session=session_like), store
