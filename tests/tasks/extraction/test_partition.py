"""A partition on real workers, which some of its utterances kill or hang."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
from distributed import Scheduler, Worker, get_worker
from icechunk import IcechunkError
from prefect.client.schemas.objects import State

from meldflow.models.extractors.contract import Extractor
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.storage import open_store
from meldflow.storage.writing.transaction import Run, open_run
from meldflow.tasks.cluster.connection import Cluster, open_cluster
from meldflow.tasks.cluster.local import Local
from meldflow.tasks.cluster.messages import watch_losses
from meldflow.tasks.cluster.profile import Address
from meldflow.tasks.extraction import ready
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.failures import RETRIES, retries
from meldflow.tasks.extraction.partition import Extraction, extract_partition, try_partition
from meldflow.tasks.options import ExtractOptions
from meldflow.tasks.watching import watch
from tests.storage.corpus import utterance
from tests.tasks.cluster.processes import wait_until
from tests.tasks.isolated.evil import Evil


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_cluster(Local(workers=1)) as opened:
        yield opened


@contextlib.contextmanager
def opened(store: Path, texts: list[str], partition: int) -> Iterator[Run]:
    with open_run(str(store), [Evil().spec], partition=partition) as run:
        run.sync([utterance(n, text=text) for n, text in enumerate(texts)])
        yield run


def work_on(
    cluster: Cluster, run: Run, extractor: Extractor, monitor: Monitor, **options: float
) -> Extraction:
    """What the partitions share; ``options`` may be less than a person may set."""
    limits = {"clip_timeout": 60.0, "partition_timeout": 300.0, "batch": 1} | options
    given = ExtractOptions(clips=Path(run.url), store=run.url).model_copy(update=limits)
    return Extraction(run, given, [extractor], cluster, monitor)


def extract(cluster: Cluster, store: Path, texts: list[str], clip: float = 60.0) -> Monitor:
    """All of one partition, published."""
    monitor = Monitor({"text/evil": len(texts)}, lambda _: None)
    with opened(store, texts, len(texts)) as run:
        (part,) = run.plan().partitions
        work = work_on(cluster, run, Evil(), monitor, clip_timeout=clip, batch=8)
        run.merge(extract_partition(work, part).written)
        run.publish()
    return monitor


def results(store: Path) -> list[tuple[int, str, str]]:
    """Count, reason and message of every utterance."""
    snapshot = open_store(str(store))
    counts, _ = snapshot.features("text/evil", "count")
    state = snapshot.state("text/evil")
    rows = zip(counts.tolist(), state["reason"].tolist(), state["message"].tolist(), strict=True)
    return list(rows)


def test_what_kills_its_worker_is_found_and_costs_itself_only(
    cluster: Cluster, tmp_path: Path
) -> None:
    texts = ["a", "bb", "segfault", "dddd", "eeeee", "ffffff", "ggggggg", "hhhhhhhh", "i" * 9]
    lost: list[tuple[str, str, list[str]]] = []
    watch_losses(cluster, lambda *loss: lost.append(loss))
    monitor = extract(cluster, tmp_path / "store", texts)
    found = results(tmp_path / "store")
    (worker, why, tasks), *_ = lost
    assert (worker, "without a word" in why) == ("cpu-0", True)
    assert tasks[0].startswith("load_and_encode-0000-run-")
    assert found[2][1:] == ("crashed", "the process that encoded it died (SIGSEGV)")
    assert [one[0] for one in found if not one[1]] == [1, 2, 4, 5, 6, 7, 8, 9]
    assert monitor.effort().apart in (1, 2)  # the ninth may have waited on the worker when it died


def test_what_hangs_ends_as_timeout(cluster: Cluster, tmp_path: Path) -> None:
    extract(cluster, tmp_path / "store", ["a", "sleep", "ccc"], clip=0.5)
    found = results(tmp_path / "store")
    assert found[1][1:] == ("timeout", "not encoded within 1 s")
    assert [one[0] for one in found if not one[1]] == [1, 3]


def test_another_try_goes_on_from_what_is_done(cluster: Cluster, tmp_path: Path) -> None:
    down, log = tmp_path / "down", tmp_path / "log"
    down.touch()
    told: list[str] = []
    monitor = Monitor({"text/evil": 4}, lambda _: None, tell=told.append)
    texts = [f"log {log}", f"log {log}", f"trip {down}", f"log {log}"]
    with opened(tmp_path / "store", texts, 4) as run:
        work = work_on(cluster, run, Evil(), monitor)
        (part,) = run.plan().partitions
        with pytest.raises(ConnectionError, match="the network is away"):
            try_partition(work, part)
        assert re.fullmatch(
            r"partition 0 is tried again in [23] s: ConnectionError: the network is away", told[0]
        )
        down.unlink()
        run.merge(extract_partition(work, part).written)
        run.publish()
    assert log.read_text() == "xxx", "what was done was not done again"
    assert monitor.extracted == 4
    assert monitor.effort().retried == {0: 1}
    assert [one[1] for one in results(tmp_path / "store")] == [""] * 4


def test_to_wait_behind_other_partitions_takes_no_time(cluster: Cluster, tmp_path: Path) -> None:
    monitor = Monitor({"text/evil": 6}, lambda _: None)
    with opened(tmp_path / "store", ["wait 0.8"] * 6, 2) as run:
        work = work_on(cluster, run, Evil(), monitor, partition_timeout=1.2)
        with ThreadPoolExecutor(3) as threads:
            for stored in threads.map(partial(extract_partition, work), run.plan().partitions):
                run.merge(stored.written)
    assert monitor.extracted == 6


def test_a_failure_of_loading_names_the_worker_and_is_final(
    cluster: Cluster, tmp_path: Path
) -> None:
    monitor = Monitor({"text/evil": 1}, lambda _: None)
    with opened(tmp_path / "store", ["a"], 1) as run:
        (part,) = run.plan().partitions
        with pytest.raises(RunError) as ended:
            try_partition(work_on(cluster, run, Evil(broken="KeyError"), monitor), part)
        assert str(ended.value).startswith("text/evil does not load on worker cpu-0 at tcp://")
        assert "KeyError: 'these weights are of another network'" in str(ended.value)
        work = work_on(cluster, run, Evil(broken="ConnectionError"), monitor)
        with pytest.raises(ConnectionError):  # which may pass
            extract_partition(work, part)
    assert not monitor.effort().retries


def test_a_pause_between_two_tries_ends_with_the_run(cluster: Cluster, tmp_path: Path) -> None:
    (tmp_path / "down").touch()
    monitor = Monitor({"text/evil": 1}, lambda _: None)
    address = cluster.client.scheduler_info(0)["address"]
    with (
        opened(tmp_path / "store", [f"trip {tmp_path / 'down'}"], 1) as run,
        open_cluster(Address(kind="address", address=address)) as own,
        ThreadPoolExecutor(1) as threads,
    ):
        (part,) = run.plan().partitions
        trying = threads.submit(try_partition, work_on(own, run, Evil(), monitor), part)
        while not monitor.waiting:
            time.sleep(0.05)
        before = time.monotonic()
        own.close()
        ended = trying.result(5)
        assert time.monotonic() - before < 1.5, "the pause takes two seconds at least"
    assert isinstance(ended, State)
    assert ended.is_cancelled()


class Shown:
    """Stands where Prefect keeps what a person sees of a run."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def progress(self, key: str, share: float, words: str, figures: object) -> None:
        self.words.append(words)

    def nothing(self, *_: object) -> None: ...

    markdown = table = nothing


def test_while_networks_load_the_progress_says_so(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "SAMPLE_SECONDS", 0.2)
    monkeypatch.setattr(watch, "SHOW_SECONDS", 0.2)
    gate, evil = tmp_path / "gate", Evil(until=str(tmp_path / "gate"))
    with opened(tmp_path / "store", ["a"], 1) as run, ThreadPoolExecutor(1) as threads:
        plan, watched, shown = run.plan(), watch.Watch(run, [evil.spec], {}), Shown()
        monkeypatch.setattr(watched, "_artifacts", shown)
        with watched.extracting(plan, cluster) as monitor:
            work = work_on(cluster, run, evil, monitor)
            going_on = threads.submit(extract_partition, work, *plan.partitions)
            wait_until(lambda: any("1 worker loads text/evil" in one for one in shown.words))
            gate.touch()
            run.merge(going_on.result().written)
            loaded = len(shown.words)
            wait_until(lambda: len(shown.words) > loaded + 5)  # a heartbeat later
        assert "load" not in shown.words[-1]


@pytest.mark.parametrize(
    ("error", "times"),
    [
        (UsageError("no"), 0),
        (TypeError("no"), 1),
        (ModuleNotFoundError("no"), 1),
        (FileNotFoundError("no"), 1),
        (ConnectionError("no"), RETRIES),
        (TimeoutError("no"), RETRIES),
        (IcechunkError("no"), RETRIES),
    ],
)
def test_what_may_pass_is_tried_again(error: Exception, times: int) -> None:
    assert retries(error) == times


def test_a_worker_knows_when_its_memory_is_short(cluster: Cluster) -> None:
    def asked(limit: int) -> bool:
        memory = get_worker().memory_manager
        real, memory.memory_limit = memory.memory_limit, limit
        short = ready._is_short()
        memory.memory_limit = real
        return short

    answers = [cluster.client.submit(asked, limit).result(60) for limit in (0, 2**45, 2**20)]
    assert answers == [False, False, True]
    assert not ready._is_short()  # no worker


def test_workers_that_are_alive_and_do_nothing_are_not_waited_for(
    cluster: Cluster, tmp_path: Path
) -> None:
    """Dask pauses one whose memory is full, and leaves what it gave it there."""
    monitor, gate = Monitor({"text/evil": 2}, lambda _: None), tmp_path / "gate"
    with (
        opened(tmp_path / "store", [f"until {gate}", "a"], 2) as run,
        ThreadPoolExecutor(1) as threads,
    ):
        work = work_on(cluster, run, Evil(), monitor, partition_timeout=6.0)
        going_on = threads.submit(extract_partition, work, *run.plan().partitions)
        wait_until(lambda: cluster.client.run_on_scheduler(states) == [("running", 1)])
        try:
            cluster.client.run(pause, 1e-6)
            wait_until(lambda: cluster.client.run_on_scheduler(states) == [("paused", 1)])
            gate.touch()
            with pytest.raises(TimeoutError, match="nothing of it was done in 6 s"):
                going_on.result(30)
        finally:
            cluster.client.run(pause, 0.8)


def states(dask_scheduler: Scheduler) -> list[tuple[str, int]]:
    """What each worker is, and how much it is at."""
    return [(one.status.name, len(one.executing)) for one in dask_scheduler.workers.values()]


def pause(above: float, dask_worker: Worker) -> None:
    dask_worker.memory_manager.memory_pause_fraction = above


def test_a_partition_that_takes_too_long_leaves_nothing_on_the_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    # The last test: the worker is asleep from here on.
    monitor = Monitor({"text/evil": 1}, lambda _: None)
    with opened(tmp_path / "store", ["sleep"], 1) as run:
        (part,) = run.plan().partitions
        work = work_on(cluster, run, Evil(), monitor, partition_timeout=0.5)
        with pytest.raises(TimeoutError, match=r"nothing of it was done in 0\.5 s"):
            extract_partition(work, part)

    mark = work.run

    def tasks(dask_scheduler: object) -> int:
        return sum(mark in key for key in dask_scheduler.tasks)  # type: ignore[attr-defined]

    deadline = time.monotonic() + 10
    while cluster.client.run_on_scheduler(tasks) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cluster.client.run_on_scheduler(tasks) == 0
