"""Where the stages run, and what moves between workers: the flow on processes of Dask's own."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, Worker

from storage import open_store
from tasks.synth.dataset import synthesise
from tests.flows import command
from tests.tasks.clusters.processes import Processes, scheduler

ONLY = ("audio/librosa", "text/minilm", "video/resnet50")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "synth"
    synthesise(folder, dialogues=3, seed=3)
    return folder


def transfers(dask_worker: Worker) -> list[dict[str, Any]]:
    return list(dask_worker.transfer_incoming_log)


def stage(key: str) -> str:
    return key.rpartition("-")[0]


class Seen:
    """What a run did: stage → worker → tasks, and what workers sent each other."""

    def __init__(self, processes: Processes, dataset: Path, store: Path) -> None:
        profile = store.with_suffix(".yaml")
        profile.write_text(f"kind: address\naddress: {processes.address}\n")
        only = [part for name in ONLY for part in ("--only", name)]
        with Client(processes.address, set_as_default=False) as client:
            client.get_task_stream()  # the scheduler keeps a record from here on
            command.run(
                *("extract", dataset, "--store", store, "--partition", "4", "--batch", "2"),
                *(*only, "--weights", "random", "--cluster", profile),
                cwd=store.parent,
            )
            workers = client.scheduler_info(n_workers=-1)["workers"]
            names = {address: str(worker["name"]) for address, worker in workers.items()}
            self.where: dict[str, Counter[str]] = defaultdict(Counter)
            for task in client.get_task_stream(count=100_000):
                self.where[stage(task["key"])][names[task["worker"]]] += 1
            self.moved: dict[str, Counter[str]] = defaultdict(Counter)
            for address, log in client.run(transfers).items():
                for one in log:
                    way = f"{names[one['who']]} → {names[address]}"
                    for key, size in one["keys"].items():
                        self.moved[way][stage(key)] += size


def test_networks_run_on_model_workers_and_decoding_on_cpu_workers(
    tmp_path: Path, dataset: Path
) -> None:
    with scheduler(tmp_path) as processes:
        processes.worker("cpu-0", "cpu=1")
        processes.worker("cpu-1", "cpu=1")
        processes.worker("gpu-0", "model=1")
        seen = Seen(processes, dataset, tmp_path / "store")
    print(dict(seen.where), dict(seen.moved))
    print(len(open_store(str(tmp_path / "store")).rows()))


def test_where_all_workers_are_alike_decoded_media_stay_where_they_are(
    tmp_path: Path, dataset: Path
) -> None:
    with scheduler(tmp_path) as processes:
        processes.worker("one", "cpu=1 model=1")
        processes.worker("two", "cpu=1 model=1")
        seen = Seen(processes, dataset, tmp_path / "store")
    print(dict(seen.where), dict(seen.moved))
