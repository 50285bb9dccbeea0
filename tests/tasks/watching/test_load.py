"""The load of workers as a table, where not everybody is always there."""

from __future__ import annotations

import numpy as np

from meldflow.tasks.watching.load import SCHEDULER, LoadSeries, LoadTable, WorkerLoad


def one(worker: str, cpu: float) -> WorkerLoad:
    return WorkerLoad(worker=worker, cpu=cpu, memory=1e9 * cpu, executing=1, waiting=0)


def test_a_worker_that_is_away_has_no_values() -> None:
    series = LoadSeries()
    series.add(0.0, [one(SCHEDULER, 5.0)])
    series.add(5.0, [one("cpu-10", 40.0), one("cpu-9", 20.0), one(SCHEDULER, 6.0)])
    series.add(10.0, [one(SCHEDULER, 7.0), one("cpu-9", 30.0)])
    table = LoadTable.of(series.columns())
    assert table.workers == [SCHEDULER, "cpu-9", "cpu-10"]
    nan = np.nan
    expected = [[5, nan, nan], [6, 20, 40], [7, 30, nan]]
    np.testing.assert_array_equal(table["cpu"], np.array(expected, dtype=np.float32))
    assert table.own.workers == ["cpu-9", "cpu-10"]
    assert table.own.seconds.tolist() == [5.0, 10.0]
    assert np.nanmax(table.own["memory"]) == np.float32(4e10)


def test_nothing_is_a_table_of_no_times() -> None:
    for columns in ({}, LoadSeries().columns()):
        table = LoadTable.of(columns)
        assert (len(table.seconds), table.workers, table.own.workers) == (0, [], [])
