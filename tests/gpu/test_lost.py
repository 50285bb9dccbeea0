"""A GPU that can no longer be used, on Dask's own processes: the clip that broke it pays for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.storage import open_store
from meldflow.storage.writing.transaction import open_run
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.local import Local
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.inputs import wanted_utterances
from meldflow.tasks.extraction.partition import Extraction, extract_partition
from meldflow.tasks.options import ExtractOptions
from tests import rig
from tests.fragile import NO_WEIGHTS, Letters
from tests.gpu import DEVICE

pytestmark = pytest.mark.gpu

TEXTS = ("one", "LOST", "three", "four")


def test_a_clip_that_breaks_the_gpu_is_the_only_one_that_is_lost(tmp_path: Path) -> None:
    dataset, store = rig.write_dataset(tmp_path / "data.csv", TEXTS), str(tmp_path / "store")
    options = ExtractOptions(dataset=dataset, store=store, partition=len(TEXTS), batch=len(TEXTS))
    letters = Letters(weights=NO_WEIGHTS)
    with (
        open_cluster(Local(device=DEVICE, workers=1, gpus=1)) as cluster,
        open_run(store, [letters.spec], partition=len(TEXTS)) as run,
    ):
        run.sync(wanted_utterances(options, {}).utterances)
        (part,) = run.plan().partitions
        monitor = Monitor({letters.name: len(TEXTS)}, lambda _: None)
        work = Extraction(run, options, (letters,), cluster, monitor)
        run.merge(extract_partition(work, part).written)
        run.publish()
    snapshot = open_store(store)
    (failed,) = snapshot.failures()
    assert (failed.id, failed.reason) == ("train/dia0_utt1", "crashed")
    assert snapshot.features(letters.name, "vector")[1].tolist() == [True, False, True, True]
