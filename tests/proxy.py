"""A network between a run and a server, which can be taken away and can falsify."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Literal

Outage = Literal["refused", "silent"]
"""Connections are refused and broken, or nobody answers any more."""


class Proxy:
    """Passes on what comes to its port, until the network is taken away."""

    def __init__(self, target: int) -> None:
        """Opens a port on loopback; ``target`` is the server's."""
        self.port = free_port()
        self.edit: Callable[[bytes], bytes] = bytes
        """What becomes of every piece of a request on its way."""
        self.lose: re.Pattern[bytes] | None = None
        """Which request is answered by nobody, although it comes through; once."""
        self.lost = 0
        """How many were."""
        self._target = target
        self._server: asyncio.Server | None = None
        self._flows: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._listen())

    @contextlib.contextmanager
    def down(self, how: Outage) -> Iterator[None]:
        """Takes the network away while the body runs."""
        self.take_away(how)
        try:
            yield
        finally:
            self.give_back()

    def take_away(self, how: Outage) -> None:
        """No more answers from here on."""
        self._do(self._refuse() if how == "refused" else self._fall_silent())

    def give_back(self) -> None:
        """As if nothing had been."""
        self._do(self._listen())

    def close(self) -> None:
        """Ends it for good."""
        self._do(self._refuse())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, what: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(30)

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self._open.set()

    async def _refuse(self) -> None:
        self._open.set()  # whoever waits finds the connection broken
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._flows:
            writer.transport.abort()

    async def _fall_silent(self) -> None:
        self._open.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._flows.add(writer)
        try:
            await self._open.wait()
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            self._end(writer)
            return
        self._flows.add(there_writer)
        lost = asyncio.Event()

        def request(content: bytes) -> bytes:
            if self.lose is not None and self.lose.search(content):
                self.lose = None
                self.lost += 1
                lost.set()
            return self.edit(content)

        def answer(content: bytes) -> bytes:
            return b"" if lost.is_set() else content

        there = asyncio.create_task(self._pass_on(reader, there_writer, request))
        await self._pass_on(there_reader, writer, answer)
        await there

    async def _pass_on(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        edited: Callable[[bytes], bytes],
    ) -> None:
        with contextlib.suppress(OSError):
            while content := await reader.read(1 << 16):
                await self._open.wait()
                if not (content := edited(content)):
                    writer.transport.abort()
                    break
                writer.write(content)
                await writer.drain()
        self._end(writer)

    def _end(self, writer: asyncio.StreamWriter) -> None:
        self._flows.discard(writer)
        writer.transport.abort() if writer.is_closing() else writer.close()


def free_port() -> int:
    """A port that nobody has."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
