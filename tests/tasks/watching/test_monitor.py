"""What watches a run: its counts, its load, its words; and that nothing of it can hold a run up."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import numpy as np
import pytest
from distributed import Client, Event
from prefect.settings import PREFECT_API_URL, temporary_settings

from meldflow.models.schema.errors import RunError, UsageError
from meldflow.storage.format.layout import FAILED, OK
from meldflow.storage.writing.partition import Update, Written
from meldflow.storage.writing.transaction import FailureRate
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.local import Local
from meldflow.tasks.extraction.counts import KEEP_FAILED, Monitor
from meldflow.tasks.extraction.payloads import Source, Stored
from meldflow.tasks.watching import words
from meldflow.tasks.watching.artifacts import Artifacts
from meldflow.tasks.watching.beat import Beat, once
from meldflow.tasks.watching.load import SCHEDULER, LoadSeries, WorkerLoad
from meldflow.tasks.watching.report import RunReport, markdown
from meldflow.tasks.watching.workers import COUNTERS, GAUGES, MeasureChildren, exchange
from tests.paths import ROOT


def stored(partition: int, reasons: list[str]) -> Stored:
    """A partition of one extractor; an empty reason is a success."""
    rows = np.arange(len(reasons)) + 10 * partition
    columns: dict[str, list[Any]] = {
        "status": [FAILED if reason else OK for reason in reasons],
        "reason": reasons,
        "message": [f"why {row}" for row in rows],
    }
    written = Written(
        partition=partition,
        fork=None,  # type: ignore[arg-type]  # nobody merges it here
        states=(Update(extractor="audio/voice", rows=rows, columns=columns),),
        ends=(),
        facts={},
        n_bytes=100,
    )
    return Stored(
        written=written,
        seconds={"load": 1.5, "audio/voice": 0.5},
        cpu_seconds={"load": 0.5, "audio/voice": 0.25},
    )


def sources(rows: Sequence[int]) -> tuple[Source, ...]:
    return tuple(
        Source(row=row, id=f"train/dia0_utt{row}", clip=f"/clips/{row}.mp4", text="")
        for row in rows
    )


def test_a_partition_that_is_tried_again_counts_once() -> None:
    told: list[int] = []
    monitor = Monitor({"audio/voice": 8}, told.append, partitions=2, sources=sources)
    monitor.rows(3)
    with monitor.retrying(0, "OSError: no route", 2.0):
        assert monitor.waiting == 1
        monitor.rows(-3)
    assert monitor.waiting == 0
    monitor.rows(4)
    monitor.encoded_apart()
    monitor.merged(stored(0, ["", "", "silent", "no_audio"]))
    monitor.rows(4)
    monitor.merged(stored(1, [""] * 4))
    assert (sum(told), monitor.extracted) == (8, 8)
    now = monitor.progress()
    assert (now.done, now.planned, now.share, now.partitions) == (8, 8, 1.0, 2)
    assert (now.effort.retries, now.effort.apart, now.effort.written_bytes) == (1, 1, 200)
    assert now.effort.seconds == {"load": 3.0, "audio/voice": 1.0}
    assert now.effort.cpu_seconds == {"load": 1.0, "audio/voice": 0.5}
    failures, rows = monitor.failed_rows()
    assert failures == {("audio/voice", "silent"): 1, ("audio/voice", "no_audio"): 1}
    assert [(one.id, one.message) for one in rows] == [
        ("train/dia0_utt2", "why 2"),
        ("train/dia0_utt3", "why 3"),
    ]
    begun = Monitor({"audio/voice": 8}, told.append).totals()
    assert set(begun.values()) == {0}
    assert {name for name, _ in begun} == set(COUNTERS)
    totals = monitor.totals()
    assert totals["features", ("audio/voice", "ok")] == 6
    assert begun.keys() == totals.keys()


def test_failed_rows_are_counted_without_end_and_kept_to_a_limit() -> None:
    monitor = Monitor({"audio/voice": 10_000}, lambda _: None, sources=sources)
    for partition in range(10):
        monitor.merged(stored(partition, ["silent"] * 100))
    failures, rows = monitor.failed_rows()
    assert (failures["audio/voice", "silent"], len(rows)) == (1000, KEEP_FAILED)
    text = words.failed_utterances("my store", failures, rows)
    assert f"The first {KEEP_FAILED} are below" in text
    assert "`meldflow failures 'my store'`" in text


def test_the_load_is_bounded_and_spans_the_run() -> None:
    series = LoadSeries(max_rows=400)
    for i in range(5000):
        loads = [WorkerLoad(f"w{w}", 10.0 * w, 1e9, 1, 3) for w in range(4)]
        series.add(5.0 * i, loads)
        assert len(series.columns()["seconds"]) <= 400 or i % 100
    columns = series.columns()
    assert 150 <= len(columns["seconds"]) <= 400
    times = np.unique(columns["seconds"])
    assert times[0] == 0
    assert times[-1] > 5.0 * 4800
    assert len(np.unique(np.diff(times))) == 1
    own = columns["worker"] == "w3"
    assert np.allclose(columns["cpu"][own], 30.0)
    assert len(times) == own.sum()


def test_a_look_at_more_workers_than_rows_is_kept() -> None:
    series = LoadSeries(max_rows=3)
    for i in range(9):
        series.add(float(i), [WorkerLoad(f"w{w}", 10.0, 1.0, 1, 0) for w in range(6)])
    assert series.columns()["worker"].tolist() == [f"w{w}" for w in range(6)]


def test_no_load_at_all_is_empty_columns() -> None:
    assert {len(values) for values in LoadSeries().columns().values()} == {0}


def test_a_beat_that_fails_goes_on_and_one_that_hangs_is_left() -> None:
    calls: Counter[str] = Counter()

    def fail() -> None:
        calls["fail"] += 1
        raise RuntimeError

    failing = Beat("fail", 0.01, fail)
    hanging = Beat("hang", 0.01, threading.Event().wait)
    time.sleep(0.2)
    assert failing.end(5.0)
    before = time.monotonic()
    assert not hanging.end(0.1)
    assert not once("hang", threading.Event().wait, 0.1)
    assert time.monotonic() - before < 2.0
    assert calls["fail"] > 2


def test_a_prefect_server_that_hangs_or_is_away_costs_seconds() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        for port in (silent.getsockname()[1], 9):
            with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
                before = time.monotonic()
                shown = Artifacts(uuid4())
                with pytest.raises(Exception, match=r"timed out|refused"):
                    shown.markdown("key", "words")
                assert time.monotonic() - before < 10


def test_workers_say_what_they_use_and_the_scheduler_serves_it() -> None:
    increments = [("features", ("audio/voice", "ok"), 3.0), ("written_bytes", (), 7.0)]
    with open_cluster(Local(workers=1)) as cluster:
        client: Client | None = cluster.connected
        assert client is not None
        client.register_plugin(MeasureChildren())
        child = client.submit(_busy_child, "seen")
        deadline = time.monotonic() + 30
        while True:
            loads = client.run_on_scheduler(exchange, increments, callback_timeout=10)
            (worker,) = [one for one in loads if one.worker != SCHEDULER]
            if worker.executing and worker.cpu > 30:
                break
            assert time.monotonic() < deadline, loads
            time.sleep(0.5)
        assert worker.memory > 10e6
        Event("seen", client=client).set()
        assert child.result() < 1.0, "the worker itself was idle: its child was not"
    assert cluster.connected is None
    with pytest.raises(RunError):
        cluster.client  # noqa: B018


def _busy_child(until: str) -> float:
    """Lets a child work until an event; gives the CPU seconds of this process."""
    import subprocess
    import sys
    import time

    from distributed import Event

    before = time.process_time()
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    Event(until).wait(30)
    child.kill()
    child.wait()
    return time.process_time() - before


def test_a_report_says_everything_also_of_a_run_that_failed() -> None:
    series = LoadSeries()
    for i in range(30):
        many = [WorkerLoad(f"w{w}", float(w), 1e9, 1, 2) for w in range(12)]
        series.add(5.0 * i, [*many, WorkerLoad(SCHEDULER, 5.0, 2e8, 0, 0)])
    monitor = Monitor({"audio/voice": 8}, lambda _: None, partitions=2)
    monitor.merged(stored(0, ["", "silent"]))
    for partition in (7, 8, 8):
        with monitor.retrying(partition, "OSError", 1.0):
            pass
    monitor.worker_lost("cpu|0", "killed", {8: 2})
    rate = FailureRate(extractor="audio/voice", tried=2, failed=1, reasons={"silent": 1})
    report = RunReport(
        store="a|b`c",
        run="run-1",
        resumed=True,
        seconds=7500.0,
        trouble="<img src=x> | [x](http://y) failed",
        utterances=8,
        progress=monitor.progress(),
        rates=[rate],
        random_weights=["video/resnet50"],
        versions={"python": "3.11"},
        load=series.columns(),
        pace=[(0.0, 0), (5.0, 4), (10.0, 8)],
    )
    told = markdown(report)
    assert told.count("data:image/png;base64,") == 4
    assert len(told) < 300_000
    assert "<img" not in told
    assert "](http://y)" not in told
    assert "``a\\|b`c``" in told
    for part in ("Random weights", "2 h 5 min", "main did not move", "resumed", "w11"):
        assert part in told
    assert "100 bytes of compressed features" in told
    assert "1 worker lost, 4 retries" in told
    assert "| Partitions tried again | 8 (3 times), 7 |" in told
    assert "| Workers lost | cpu\\|0 |" in told
    assert "What all tries of this run did" in told
    assert "| 1 | 1 | silent 1 |" in told  # extracted, failed: of two that were tried


def test_a_report_of_nothing() -> None:
    told = markdown(RunReport(store="s", run="r", resumed=False, seconds=0.2, snapshot="ABC"))
    assert "Nothing was to be extracted" in told
    assert "data:image" not in told


def dashboard_metrics() -> set[str]:
    """Names of the metrics that the dashboard's expressions ask for."""
    dashboard: dict[str, Any] = json.loads((ROOT / "deploy/grafana/meldflow.json").read_text())
    expressions = [one["expr"] for panel in dashboard["panels"] for one in panel["targets"]]
    return set(re.findall(r"\b(?:meldflow|dask)_[a-z_]+", " ".join(expressions)))


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    ours = {f"meldflow_{name}_total" for name in COUNTERS}
    ours |= {f"meldflow_{name}" for name, _ in GAUGES.values()}
    assert ours <= dashboard_metrics()


def test_watching_what_is_not_there() -> None:
    from meldflow.flows.serving.runs import prefect_server_in_use

    with (
        temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}),
        pytest.raises(UsageError, match="meldflow up"),
        prefect_server_in_use(),
    ):
        pass
