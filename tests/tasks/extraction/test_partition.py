"""A partition on real workers, which some of its utterances kill or hang."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from meldflow.storage import open_store
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.cluster.connection import Cluster, open_cluster
from meldflow.tasks.cluster.local import Local
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.partition import Extraction, extract_partition
from meldflow.tasks.options import ExtractOptions
from tests.storage.corpus import utterance
from tests.tasks.isolated.evil import Evil


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with open_cluster(Local(workers=1)) as opened:
        yield opened


def extract(
    cluster: Cluster, store: Path, texts: list[str], *, clip: float = 60.0, partition: float = 300.0
) -> Monitor:
    """All of one partition, published."""
    limits = {"clip_timeout": clip, "partition_timeout": partition}  # less than a person may set
    options = ExtractOptions(clips=store, store=str(store), batch=8).model_copy(update=limits)
    extractor = Evil()
    monitor = Monitor({extractor.spec.name: len(texts)}, lambda _: None)
    with open_run(str(store), [extractor.spec], partition=len(texts)) as run:
        run.sync([utterance(n, text=text) for n, text in enumerate(texts)])
        (part,) = run.plan().partitions
        work = Extraction(run, options, [extractor], cluster, monitor)
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
    monitor = extract(cluster, tmp_path / "store", texts)
    found = results(tmp_path / "store")
    assert found[2][1:] == ("crashed", "the process that encoded it died (SIGSEGV)")
    assert [one[0] for one in found if not one[1]] == [1, 2, 4, 5, 6, 7, 8, 9]
    assert monitor.apart in (1, 2)  # the ninth may have waited on the worker when it died


def test_what_hangs_ends_as_timeout(cluster: Cluster, tmp_path: Path) -> None:
    extract(cluster, tmp_path / "store", ["a", "sleep", "ccc"], clip=0.5)
    found = results(tmp_path / "store")
    assert found[1][1:] == ("timeout", "not encoded within 1 s")
    assert [one[0] for one in found if not one[1]] == [1, 3]


def test_a_partition_that_takes_too_long_leaves_nothing_on_the_cluster(
    cluster: Cluster, tmp_path: Path
) -> None:
    with pytest.raises(TimeoutError):
        extract(cluster, tmp_path / "store", ["sleep"], partition=0.5)

    def tasks(dask_scheduler: object) -> int:
        return len(dask_scheduler.tasks)  # type: ignore[attr-defined]

    deadline = time.monotonic() + 10
    while cluster.client.run_on_scheduler(tasks) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert cluster.client.run_on_scheduler(tasks) == 0
