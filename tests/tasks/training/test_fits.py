"""Fits on workers: whichever does them, in whatever order, they have the same bits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from meldflow.models.running.hardware import single_threaded
from meldflow.models.training.fit import Unit, fit_unit
from meldflow.models.training.run import Trained
from meldflow.storage import open_store
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.local import Local
from meldflow.tasks.options import TrainOptions
from meldflow.tasks.training.fits import Fits, Found
from meldflow.tasks.training.steps import checkpoints, plan_training
from meldflow.tasks.training.table import load_table, outline
from tests.tasks.training.trained import make_store


def plain(trained: Trained) -> Trained:
    """All of it that has to be the same: not when, and how long."""
    seeds = tuple(
        replace(
            one,
            durations={},
            history=tuple(replace(epoch, seconds=0.0) for epoch in one.history),
        )
        for one in trained.result.seeds
    )
    result = replace(trained.result, seeds=seeds, seconds=0.0, read_seconds=0.0, started="")
    return replace(trained, result=result, arrays={})


def test_two_workers_in_another_order_give_the_bits_of_this_process(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    options = TrainOptions(
        store=str(store),
        report=tmp_path / "report",
        epochs=2,
        modalities=("audio", "text"),
        seeds=2,
    )
    snapshot = open_store(options.store)
    planned = plan_training(
        outline(snapshot, options.reads, options.modalities, options.target), options
    )
    assert [one.name for one in planned.units] == [
        "all, seed 0",
        "all, seed 1",
        "audio, seed 0",
        "audio, seed 1",
        "text, seed 0",
        "text, seed 1",
        "SVM alone: audio+text",
    ]
    here: dict[Unit, Found] = {}
    for unit in planned.units:
        table = load_table(snapshot, options.reads, unit.modalities, options.target, once=True)
        with single_threaded():
            here[unit] = fit_unit(table, unit, planned.config, planned.rules)
        assert not table.features  # it held nothing twice
    with open_cluster(Local(workers=2)) as cluster, ThreadPoolExecutor(len(planned.units)) as pool:
        work = Fits(snapshot, planned, options, cluster)
        order = planned.units[::-1]
        there: dict[Unit, Found] = dict(zip(order, pool.map(work.fit, order), strict=True))
    one, other = planned.conclude(here), planned.conclude(there)
    assert plain(other) == plain(one)
    for stem, arrays in one.arrays.items():
        for name, values in arrays.items():
            np.testing.assert_array_equal(other.arrays[stem][name], values, err_msg=name)
    assert (checkpoints(options) / "text-seed-1.pt").exists()
