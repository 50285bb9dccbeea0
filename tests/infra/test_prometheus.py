"""What Prometheus and the Grafana dashboard see of failures, retries and a killed worker."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
import pytest

from meldflow.flows.serving.site.http import ask
from meldflow.storage import open_store
from tests import fragile
from tests.flows import command
from tests.flows.servers import dask
from tests.infra.daemon import program
from tests.infra.prometheus import CONFIGURATION, Answer, Prometheus, open_prometheus
from tests.paths import IMPORTS, ROOT
from tests.rig import committed, texts, wait_until, write_dataset

pytestmark = pytest.mark.infra

DASHBOARD = ROOT / "deploy" / "grafana" / "meldflow.json"
SCRAPE_SECONDS = 5
RATE_INTERVAL = f"{4 * SCRAPE_SECONDS}s"
"""What Grafana puts for `$__rate_interval` where the data source scrapes every five seconds."""
IDLE = {"sum(meldflow_worker_waiting)", 'sum(dask_scheduler_tasks{state=~"no-worker|queued"})'}
"""Queries that may give nothing but 0 where tasks never pile up."""
LOST = "sum by (task_prefix_name) (dask_scheduler_tasks_suspicious_total)"
BROKEN = (3, 50, 51)
"""Rows that end as failures, for both extractors; row 30 kills its worker, for one of them."""
MARKED = {**dict.fromkeys(BROKEN, "BROKEN"), 30: "SIGKILL"}


def dashboard_queries() -> list[str]:
    """Every expression of the dashboard, as Grafana asks it."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [one["expr"] for panel in panels for one in panel["targets"]]
    return [one.replace("$__rate_interval", RATE_INTERVAL) for one in found]


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A run that Prometheus saw from its beginning to its end."""

    prometheus: Prometheus
    report: dict[str, Any]
    """What `extract --json` said."""
    failures: Counter[tuple[str, str]]
    """Extractor and reason → rows of the store."""
    peaks: dict[str, Answer]
    """Query of the dashboard → the greatest value of each of its series during the run."""

    def total(self, query: str) -> float:
        """The one value that a query gives now."""
        (value,) = self.prometheus.ask(query).values()
        return value


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    folder = tmp_path_factory.mktemp("prometheus")
    known = os.pathsep.join((str(fragile.announce(folder / "extractors")), IMPORTS))
    dataset = write_dataset(folder / "data.csv", texts(80, milliseconds=250, marked=MARKED))
    store = str(folder / "store")
    only = [part for one in fragile.EXTRACTORS for part in ("--only", one.spec.name)]
    options = ("--partition", "8", "--batch", "2", "--max-failure-rate", "0.2", "--json")
    program("prometheus", "prometheus")
    with mock.patch.dict(os.environ, {"PYTHONPATH": known}), dask(folder) as cluster:
        page = cluster.metrics.removesuffix("/metrics").removeprefix("http://")
        wait_until(lambda: ask(cluster.metrics) is not None, 90, "the scheduler serves metrics")
        with open_prometheus(folder, page) as prometheus:
            wait_until(lambda: bool(prometheus.ask("up == 1")), 60, "the scheduler is scraped")
            where = ("--store", store, "--cluster", cluster.profile)
            run = command.start("extract", dataset, *where, *only, *options, cwd=folder)
            try:
                peaks = _follow(run, store, folder, prometheus)
                out, err = run.communicate()
            finally:
                run.kill()
            assert run.returncode == 0, err
            time.sleep(2 * SCRAPE_SECONDS)
            yield Watched(
                prometheus=prometheus,
                report=json.loads(out),
                failures=_failures(store),
                peaks=peaks,
            )


def _follow(
    run: subprocess.Popen[str], store: str, folder: Path, prometheus: Prometheus
) -> dict[str, Answer]:
    """Asks the dashboard's queries to the end of a run, and kills its worker meanwhile."""
    peaks: dict[str, Answer] = {}
    killed = False
    while run.poll() is None:
        if not killed and committed(store) > 0:
            _kill_worker(folder)
            killed = True
        for query in dashboard_queries():
            best = peaks.setdefault(query, {})
            for series, value in prometheus.ask(query).items():
                best[series] = max(value, best.get(series, 0.0))
        time.sleep(1)
    return peaks


def _kill_worker(folder: Path) -> None:
    """SIGKILL for the worker alone: its nanny starts another."""
    for one in psutil.process_iter():
        try:
            below = one.parents()
            mine = any(p.cwd() == str(folder) and "worker" in p.cmdline() for p in below)
            if mine and "spawn_main" in " ".join(one.cmdline()):
                one.kill()
                return
        except psutil.Error:
            continue
    raise AssertionError("no worker is there")


def _failures(store: str) -> Counter[tuple[str, str]]:
    return Counter((one.extractor, str(one.reason)) for one in open_store(store).failures())


def test_the_configuration_is_valid() -> None:
    done = subprocess.run(
        [program("promtool", "prometheus"), "check", "config", CONFIGURATION],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"scrape_interval: {SCRAPE_SECONDS}s" in CONFIGURATION.read_text()


def test_every_query_of_the_dashboard_gives_a_series(watched: Watched) -> None:
    (target,) = watched.prometheus.targets()
    assert (target["health"], target["lastError"]) == ("up", "")
    assert set(watched.peaks) == set(dashboard_queries())
    empty = {query for query, series in watched.peaks.items() if not any(series.values())}
    assert empty <= IDLE
    # Still after the run, when somebody looks at what it was.
    silent = [one for one in dashboard_queries() if not watched.prometheus.ask(one)]
    assert not silent


def test_the_totals_are_those_of_the_report(watched: Watched) -> None:
    effort, failed = watched.report["effort"], watched.failures
    assert failed.total() == 2 * len(BROKEN) + 1
    ask = watched.prometheus.ask
    assert watched.total('sum(meldflow_features_total{outcome="failed"}) or vector(0)') == 7
    extracted = {(name,): n for name, n in watched.report["extracted"].items()}
    assert ask('sum by (extractor) (meldflow_features_total{outcome="ok"})') == extracted
    by_reason = ask("sum by (extractor, reason) (meldflow_failures_total) > 0")
    assert by_reason == dict(failed)
    retried = watched.total('sum(meldflow_partitions_total{event="retried"}) or vector(0)')
    assert retried == effort["retries"] > 0
    assert watched.total('meldflow_partitions_total{event="apart"}') == effort["apart"] > 0
    lost = watched.total("meldflow_lost_workers_total")
    assert lost == sum(effort["lost_workers"].values()) > 0
    assert watched.total("meldflow_written_bytes_total") == effort["written_bytes"]
    stages = ask("sum by (stage) (meldflow_stage_seconds_total)")
    assert stages == {(name,): pytest.approx(s, abs=0.01) for name, s in effort["seconds"].items()}


@pytest.mark.parametrize(
    ("series", "labels"),
    [
        ("features", "extractor, outcome"),
        ("failures", "extractor, reason"),
        ("partitions", "event"),
        ("stage_seconds", "stage"),
        ("lost_workers", ""),
        ("written_bytes", ""),
    ],
)
def test_a_counters_growth_is_all_that_it_counted(
    watched: Watched, series: str, labels: str
) -> None:
    """A series that begins with its first increment shows no growth by it."""
    ask = watched.prometheus.ask
    counted = ask(f"sum by ({labels}) (meldflow_{series}_total)")
    grown = ask(f"sum by ({labels}) (increase(meldflow_{series}_total[30m]))")
    assert grown.keys() == counted.keys()
    # Prometheus extrapolates to the ends of the window; never below what it saw.
    for key, value in counted.items():
        assert value * 0.999 <= grown[key] <= value * 1.5, (key, value, grown)


def test_rates_of_the_dashboard_were_seen(watched: Watched) -> None:
    peaks = {re.sub(r"\[\w+\]", "", query): series for query, series in watched.peaks.items()}
    by_extractor = peaks["sum by (extractor) (rate(meldflow_features_total))"]
    assert {name for (name,) in by_extractor} == {one.spec.name for one in fragile.EXTRACTORS}
    assert min(by_extractor.values()) > 0.1
    assert max(peaks["meldflow_worker_memory_bytes"].values()) > 5e7
    assert max(peaks[LOST].values()) > 0
