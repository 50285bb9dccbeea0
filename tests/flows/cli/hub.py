"""A model hub on loopback, with what of its protocol a download asks for."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

COMMIT = "0" * 40
SLOWLY = 0.05
"""Seconds between pieces."""


class Hub(ThreadingHTTPServer):
    """Serves the files of a folder as those of every model."""

    daemon_threads = True

    def __init__(self, folder: Path) -> None:
        """Opens a port."""
        super().__init__(("127.0.0.1", 0), _Handler)
        self.folder = folder
        self.cut = False
        """Whether connections end in the middle of a file."""
        self.altered = False
        """Whether other bytes come than the hub has digests of."""
        self.pieces = 1
        """A file comes in so many, slowly."""
        self.sent: list[str] = []
        """Files whose bytes were asked for."""
        self.begun = threading.Event()

    @property
    def variables(self) -> dict[str, str]:
        """What leads to it."""
        address = f"http://127.0.0.1:{self.server_port}"
        return {"HF_ENDPOINT": address, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}


class _Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(headers_only=True)

    def do_GET(self) -> None:
        self._answer(headers_only=False)

    def _answer(self, *, headers_only: bool) -> None:
        asked = re.fullmatch(r"/[\w.-]+/[\w.-]+/resolve/\w+/([\w.]+)", self.path)
        file = self.server.folder / asked[1] if asked else self.server.folder / "nothing"
        if not file.is_file():
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        content = file.read_bytes()
        digits = hashlib.sha256(content).hexdigest()
        if self.server.altered and file.suffix == ".safetensors":
            content = content[:-1] + bytes([content[-1] ^ 1])
        first = int(re.findall(r"\d+", self.headers.get("Range", "0"))[0])
        self.send_response(206 if first else 200)
        for name, value in {
            "ETag": f'"{digits}"',
            "X-Repo-Commit": COMMIT,
            "Content-Length": str(len(content) - first),
            "Content-Range": f"bytes {first}-{len(content) - 1}/{len(content)}",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if not headers_only:
            self._send(file.name, content[first:])

    def _send(self, name: str, content: bytes) -> None:
        self.server.sent.append(name)
        if self.server.cut and name != "config.json":
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
            return
        size = -(-len(content) // self.server.pieces) or 1
        with contextlib.suppress(OSError):  # who asked may have gone
            for start in range(0, len(content), size):
                self.wfile.write(content[start : start + size])
                self.wfile.flush()
                if self.server.pieces > 1:
                    self.server.begun.set()
                    threading.Event().wait(SLOWLY)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@contextlib.contextmanager
def open_hub(folder: Path) -> Iterator[Hub]:
    """Serves the files of a folder until the block ends."""
    with Hub(folder) as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            hub.shutdown()
            thread.join()
