"""The Prefect server that commands share, and its end."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def own_server() -> Iterator[str]:
    """The API of a server that nobody else uses."""
    from meldflow.flows.serving.site.home import Home
    from meldflow.flows.serving.site.shared import shared_server

    with tempfile.TemporaryDirectory(prefix="meldflow-server-") as folder:
        try:
            with shared_server(Home(Path(folder))) as api:
                yield api
        finally:
            end_servers(Path(folder))


def end_servers(folder: Path, how: signal.Signals = signal.SIGTERM) -> None:
    """Ends whatever serves from a folder or one below, and waits until it is gone."""
    keepers = [int(one.read_text().split()[0]) for one in folder.rglob("up.lock")]
    for keeper in keepers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(keeper, how)
    deadline = time.monotonic() + 60
    while any(Path(f"/proc/{keeper}").exists() for keeper in keepers):
        assert time.monotonic() < deadline, f"{keepers} do not end"
        time.sleep(0.1)
