"""How a run joins a cluster, comes back to it, and leaves it for good."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from distributed import Client

from meldflow.models.schema.errors import RunError
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.profile import Address
from tests.tasks.cluster.processes import scheduler


def test_who_comes_back_as_the_run_leaves_leaves_as_well(tmp_path: Path) -> None:
    coming, gate, clients = threading.Event(), threading.Event(), list[Client]()

    def prepare(client: Client) -> None:
        clients.append(client)
        if len(clients) > 1:
            coming.set()
            assert gate.wait(30)

    with scheduler(tmp_path) as processes, ThreadPoolExecutor(1) as threads:
        processes.worker("only", "cpu=1 model=1")
        with open_cluster(Address(kind="address", address=processes.address)) as cluster:
            cluster.on_join(prepare)
            clients[0].close()  # as where the scheduler went
            again = threads.submit(lambda: cluster.client)
            assert coming.wait(30)
        gate.set()
        with pytest.raises(RunError, match="the run is over"):
            again.result(30)
        assert [one.status for one in clients] == ["closed", "closed"]
