"""Where the stages of a partition run, and what moves between workers, on Dask's own processes."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Worker

from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.profile import Address
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.inputs import wanted_extractors, wanted_utterances
from meldflow.tasks.extraction.partition import Extraction, extract_partition
from meldflow.tasks.options import ExtractOptions
from tests.media import Film, Track, noise, tone, write
from tests.tasks.cluster.processes import Processes, scheduler

ONLY = ("audio/librosa", "video/resnet50")
CLIPS = 8


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for number in range(CLIPS):
        streams: list[Film | Track] = [Film(frames=noise(12)), Track(samples=tone(220, 0.5)[None])]
        write(folder / f"{number}.mp4", streams)
    return folder


def transfers(dask_worker: Worker) -> list[dict[str, Any]]:
    return list(dask_worker.transfer_incoming_log)


def stage(key: str) -> str:
    return key.split("-")[0]


class Seen:
    """What extracting did: stage → worker → tasks, and way → stage → bytes that moved."""

    def __init__(self, processes: Processes, clips: Path, store: Path) -> None:
        options = ExtractOptions(
            clips=clips, store=str(store), only=ONLY, weights="random", partition=CLIPS, batch=2
        )
        self.where: dict[str, Counter[str]] = defaultdict(Counter)
        self.moved: dict[str, Counter[str]] = defaultdict(Counter)
        with open_cluster(Address(kind="address", address=processes.address)) as cluster:
            cluster.client.get_task_stream()  # the scheduler keeps a record from here on
            extractors = wanted_extractors(options)
            specs = [extractor.spec for extractor in extractors]
            with open_run(str(store), specs, partition=CLIPS) as run:
                run.sync(wanted_utterances(options, {}).utterances)
                (part,) = run.plan().partitions
                monitor = Monitor(dict.fromkeys(ONLY, CLIPS), lambda _: None)
                work = Extraction(run, options, extractors, cluster, monitor)
                run.merge(extract_partition(work, part).written)
                run.publish()
            self._read(cluster.client)

    def _read(self, client: Client) -> None:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        names = {address: str(worker["name"]) for address, worker in workers.items()}
        for task in client.get_task_stream(count=10_000):
            self.where[stage(task["key"])][names[task["worker"]]] += 1
        for address, log in client.run(transfers).items():
            for one in log:
                way = f"{names[one['who']]} → {names[address]}"
                for key, size in one["keys"].items():
                    self.moved[way][stage(key)] += size


@pytest.mark.slow
def test_networks_run_on_model_workers_and_decoding_on_cpu_workers(
    tmp_path: Path, clips: Path
) -> None:
    with scheduler(tmp_path) as processes:
        for name, resources in (("cpu-0", "cpu=1"), ("cpu-1", "cpu=1"), ("gpu-0", "model=1")):
            processes.worker(name, resources)
        seen = Seen(processes, clips, tmp_path / "store")
    assert seen.where["load_media"].keys() <= {"cpu-0", "cpu-1"}
    assert seen.where["write"].keys() <= {"cpu-0", "cpu-1"}
    batches = CLIPS // 2
    assert seen.where["load_media"].total() == batches
    assert seen.where["encode"].total() == 2 * batches
    assert seen.where["encode"]["gpu-0"] == batches  # ResNet-50; librosa ran on cpu workers
    to_gpu = sum(seen.moved[way]["load_media"] for way in seen.moved if way.endswith("gpu-0"))
    assert to_gpu > CLIPS * 2**16  # Dask knows how large decoded media are


@pytest.mark.slow
def test_where_workers_are_alike_decoded_media_stay_where_they_are(
    tmp_path: Path, clips: Path
) -> None:
    with scheduler(tmp_path) as processes:
        for name in ("one", "two"):
            processes.worker(name, "cpu=1 model=1")
        seen = Seen(processes, clips, tmp_path / "store")
    assert seen.where.keys() == {"load_and_encode", "write"}
    assert all(way.keys() == {"load_and_encode"} for way in seen.moved.values())  # features alone
