"""Workers that come while a run goes on, and those that go."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from dask.system import CPU_COUNT
from distributed import Client, Scheduler

from meldflow.tasks.cluster import connection, elastic
from meldflow.tasks.cluster.connection import Cluster, open_cluster
from meldflow.tasks.cluster.local import Local
from meldflow.tasks.cluster.messages import watch_losses
from meldflow.tasks.cluster.profile import Adaptive, Address
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.partition import extract_partition
from tests.tasks.cluster.processes import scheduler, wait_until
from tests.tasks.extraction.test_partition import opened, work_on
from tests.tasks.extraction.test_partition import results as rows_of
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
    gate = tmp_path / "gate"  # the first worker waits for it, as long as it takes others to come
    texts = [f"until {gate}", *["wait 0.1"] * 9, *["wait 1"] * 10]
    monitor = Monitor({"text/evil": len(texts)}, lambda _: None)
    with scheduler(tmp_path) as processes, ThreadPoolExecutor(2) as threads:
        processes.worker("first", "cpu=1 model=1")
        address = Address(kind="address", address=processes.address)
        with open_cluster(address) as cluster, opened(tmp_path / "store", texts, 10) as run:
            assert (cluster.is_uniform, cluster.width()) == (True, 2)
            cluster.client.get_task_stream()
            work = work_on(cluster, run, Evil(), monitor)
            begun, later = run.plan().partitions
            going_on = threads.submit(extract_partition, work, begun)
            processes.worker("late", "cpu=1 model=1")
            processes.worker("networks", "model=1")
            wait_until(lambda: monitor.extracted == 9, 90)
            gate.touch()
            run.merge(going_on.result().written)
            first = tasks_by_worker(cluster.client)
            wait_until(lambda: cluster.width() == 4, 90)
            run.merge(extract_partition(work, later).written)
            then = tasks_by_worker(cluster.client)
    assert first["load_and_encode"] == {"first": 1, "late": 9}, "of what had been given out"
    assert then["load_media"].keys() <= {"first", "late"}
    assert then["encode"].keys() >= {"networks"}
    assert then["encode"].total() == 10
    assert monitor.extracted == len(texts)


@pytest.mark.skipif(CPU_COUNT < 2, reason="two workers need two cores")
def test_their_number_follows_the_work_and_nothing_is_lost_or_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(elastic, "IDLE_LOOKS", 3)
    log, gate, told, lost = tmp_path / "log", tmp_path / "gate", list[str](), list[str]()
    monitor = Monitor({"text/evil": 20}, lambda _: None, tell=told.append)
    # Who does the short ones has nothing more to do, but results, while another is at the long one.
    texts = [f"until {gate}", *[f"log {log}"] * 19]
    with (
        open_cluster(Local(adaptive=Adaptive(maximum=2))) as cluster,
        opened(tmp_path / "store", texts, 20) as run,
        ThreadPoolExecutor(1) as threads,
    ):
        watch_losses(cluster, lambda worker, why, tasks: lost.append(worker))
        assert (workers_of(cluster), cluster.width()) == (1, 3), "all that may come have work"
        (part,) = run.plan().partitions
        going_on = threads.submit(extract_partition, work_on(cluster, run, Evil(), monitor), part)
        wait_until(lambda: workers_of(cluster) == 2)
        wait_until(lambda: monitor.extracted == 19)
        assert 19 in cluster.client.run_on_scheduler(results)
        wait_until(lambda: workers_of(cluster) == 1)
        assert not going_on.done()
        assert cluster.client.run_on_scheduler(results) == [19], "they were handed on"
        gate.touch()
        run.merge(going_on.result().written)
        run.publish()
    assert [one[0] for one in rows_of(tmp_path / "store")] == [len(text) for text in texts]
    assert len(log.read_text()) == 19, "none was encoded twice"
    assert (told, lost, monitor.effort().retries) == ([], [], 0)


def workers_of(cluster: Cluster) -> int:
    return len(cluster.client.nthreads())


def results(dask_scheduler: Scheduler) -> list[int]:
    """How many results each worker holds that is there."""
    return [len(one.has_what) for one in dask_scheduler.workers.values()]
