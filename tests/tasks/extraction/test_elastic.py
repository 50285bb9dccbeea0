"""Workers that come while a run goes on, and those that go."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from distributed import Client

from meldflow.tasks.cluster import connection
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.profile import Address
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.partition import extract_partition
from tests.tasks.cluster.processes import scheduler, wait_until
from tests.tasks.extraction.test_partition import opened, work_on
from tests.tasks.isolated.evil import Evil


def tasks_by_worker(client: Client) -> dict[str, Counter[str]]:
    """Stage → worker → tasks that it did, since the scheduler was first asked."""
    workers = client.scheduler_info(n_workers=-1)["workers"]
    done: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for task in client.get_task_stream(count=10_000):
        done[task["key"].split("-")[0]][str(workers[task["worker"]]["name"])] += 1
    return done


def test_workers_that_join_late_are_used_for_what_they_offer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "COUNT_SECONDS", 0.0)
    rows = 40
    monitor = Monitor({"text/evil": rows}, lambda _: None)
    with scheduler(tmp_path) as processes, ThreadPoolExecutor(2) as threads:
        processes.worker("first", "cpu=1 model=1")
        address = Address(kind="address", address=processes.address)
        with (
            open_cluster(address) as cluster,
            opened(tmp_path / "s", ["wait 0.4"] * rows, 30) as run,
        ):
            assert (cluster.is_uniform, cluster.width()) == (True, 2)
            cluster.client.get_task_stream()
            work = work_on(cluster, run, Evil(), monitor)
            begun, later = run.plan().partitions
            going_on = threads.submit(extract_partition, work, begun)
            wait_until(lambda: monitor.extracted)
            processes.worker("late", "cpu=1 model=1")
            processes.worker("networks", "model=1")
            run.merge(going_on.result().written)
            first = tasks_by_worker(cluster.client)
            wait_until(lambda: cluster.width() == 4)
            run.merge(extract_partition(work, later).written)
            then = tasks_by_worker(cluster.client)
    assert first["load_and_encode"].keys() == {"first", "late"}, "of what had been given out"
    assert then["load_media"].keys() == {"first", "late"}
    assert then["encode"].keys() == {"first", "late", "networks"}
    assert then["encode"].total() == 10
    assert monitor.extracted == rows
