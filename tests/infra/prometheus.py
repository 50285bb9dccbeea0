"""Prometheus with the shipped configuration, on loopback."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from meldflow.flows.serving.site.http import ask
from tests.infra.daemon import daemon, program
from tests.paths import ROOT
from tests.proxy import free_port
from tests.rig import wait_until

CONFIGURATION = ROOT / "deploy" / "prometheus.yml"
SHIPPED = "127.0.0.1:8787"
"""The address of the scheduler's metrics in it."""

Answer: TypeAlias = dict[tuple[str, ...], float]
"""Values of a series' labels, by the labels' names → its value."""


@dataclass(frozen=True, kw_only=True)
class Prometheus:
    """One that scrapes."""

    url: str

    def ask(self, query: str) -> Answer:
        """What a query gives now; one that is not valid fails."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=30)
        assert answer.status_code == httpx.codes.OK, f"{query}: {answer.text}"
        return {
            tuple(one["metric"][name] for name in sorted(one["metric"])): float(one["value"][1])
            for one in answer.json()["data"]["result"]
        }

    def targets(self) -> list[dict[str, Any]]:
        """Whom it scrapes, and how that goes."""
        answer = httpx.get(f"{self.url}/api/v1/targets", timeout=30).raise_for_status()
        return list(answer.json()["data"]["activeTargets"])


@contextlib.contextmanager
def open_prometheus(folder: Path, scheduler: str) -> Iterator[Prometheus]:
    """Scrapes the page of a scheduler, an address and port, until the block ends."""
    own = f"127.0.0.1:{free_port()}"
    file, text = folder / "prometheus.yml", CONFIGURATION.read_text()
    assert text.count(SHIPPED) == 1
    file.write_text(text.replace(SHIPPED, scheduler))
    command = [
        program("prometheus", "prometheus"),
        f"--config.file={file}",
        f"--web.listen-address={own}",
    ]
    with daemon([*command, f"--storage.tsdb.path={folder / 'series'}"], folder):
        running = Prometheus(url=f"http://{own}")
        wait_until(lambda: ask(f"{running.url}/-/ready") is not None, 60, "Prometheus is ready")
        yield running
