"""What a person sees of real runs: artifacts, metrics, `meldflow runs` and `meldflow watch`."""

from __future__ import annotations

import json
import re
import shutil
import time
import urllib.request
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meldflow.flows.serving.site import http
from meldflow.storage import open_store
from tests.flows import command
from tests.flows.servers import Workers, flow_run, records, until
from tests.tasks.watching.test_monitor import dashboard_metrics

ONLY = ("--only", "audio/librosa", "--only", "text/minilm", "--partition", "4", "--batch", "2")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A Prefect server, a Dask scheduler with a worker, a data set, and a run that was watched."""

    folder: Path
    api: str
    workers: Workers
    counted: Counter[str]
    """What the scheduler's metrics have gained by the run."""
    report: dict[str, Any]
    """What `extract --json` said."""
    watched: list[dict[str, Any]]
    """What `watch --json` said meanwhile."""


@pytest.fixture(scope="module")
def site(api: str, demo: Path, workers: Workers, tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("watch")
    shutil.copytree(demo, folder / "data")
    (folder / "data" / "train_splits" / "dia0_utt1.mp4").write_text("not a film")
    until(lambda: http.ask(workers.metrics) is not None, 90)
    before = metrics(workers)
    arguments = ("extract", folder / "data", "--store", "watched", *ONLY)
    on = ("--cluster", workers.profile, "--json")
    run = command.start(*arguments, *on, cwd=folder, api=api)
    while not records(api, "flow_runs", flow_runs={"name": {"like_": "extract-watched"}}):
        assert run.poll() is None
        time.sleep(0.2)
    following = ("watch", "extract-watched", "--json", "--interval", "0.5")
    watch = command.here(*following, cwd=folder, api=api)
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, err
    return Site(
        folder=folder,
        api=api,
        workers=workers,
        counted=metrics(workers) - before,
        report=json.loads(out),
        watched=[json.loads(line) for line in watch.stdout.splitlines()],
    )


def metrics(workers: Workers) -> Counter[str]:
    """Name with labels → value of what the scheduler serves."""
    with urllib.request.urlopen(workers.metrics, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    pairs = (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    return Counter({name: float(value) for name, value in pairs})


def artifacts(api: str, name: str) -> dict[str, dict[str, Any]]:
    """Key → artifact of the newest run of that name."""
    run = flow_run(api, name)["id"]
    found = records(api, "artifacts", artifacts={"flow_run_id": {"any_": [run]}})
    keys = [one["key"] for one in found]
    assert len(keys) == len(set(keys)), "an artifact is made once and updated"
    return {one["key"]: one for one in found}


def test_the_ui_shows_progress_failures_workers_and_a_report(site: Site) -> None:
    shown = artifacts(site.api, "extract-watched")
    assert set(shown) == {
        "dask-dashboard",
        "extract-failed-utterances",
        "extract-failures",
        "extract-progress",
        "extract-report",
        "extract-workers",
    }
    assert shown["extract-progress"]["data"] == 100
    planned = sum(site.report["extracted"].values()) + 1  # that failed
    assert f"{planned} of {planned} features" in shown["extract-progress"]["description"]
    (failed,) = json.loads(shown["extract-failures"]["data"])
    assert (failed["extractor"], failed["reason"], failed["utterances"]) == (
        "audio/librosa",
        "unreadable",
        1,
    )
    clip = site.folder / "data" / "train_splits" / "dia0_utt1.mp4"
    look = shown["extract-failed-utterances"]["data"]
    assert "`train/dia0_utt1`" in look
    assert f"`meldflow inspect {clip}`" in look
    workers = json.loads(shown["extract-workers"]["data"])
    assert {one["worker"] for one in workers} == {"cpu-0", "scheduler"}
    assert site.workers.metrics.removesuffix("/metrics") in shown["dask-dashboard"]["data"]
    report = shown["extract-report"]["data"]
    assert site.report["snapshot"] in report
    assert report.count("data:image/png;base64,") == 4
    for part in ("clips per second", "unreadable 1", "Where the time went", "cpu-0", "meldflow"):
        assert part in report


def test_the_report_of_the_command_has_stages_retries_and_bytes(site: Site) -> None:
    effort = site.report["effort"]
    assert set(effort["seconds"]) == {"load", "audio/librosa", "text/minilm", "write"}
    assert min(effort["seconds"].values()) > 0
    assert set(effort["cpu_seconds"]) == set(effort["seconds"])
    assert min(effort["cpu_seconds"].values()) > 0
    assert (effort["retries"], effort["apart"]) == (0, 0)
    assert effort["written_bytes"] > 10_000


def test_watch_follows_to_the_end(site: Site) -> None:
    first, last = site.watched[0], site.watched[-1]
    assert not first["ended"]
    assert (last["state"], last["ended"], last["share"]) == ("Completed", True, 1.0)
    assert last["progress"]["failed"] == 1
    assert last["failures"][0]["reason"] == "unreadable"
    assert any(one["workers"] for one in site.watched)


def test_a_partition_is_a_task_run_and_workers_log_into_the_run(site: Site) -> None:
    def ended() -> bool:
        return bool(flow_run(site.api, "extract-watched")["state_type"] == "COMPLETED")

    until(ended, 30)  # the server, which other tests use as well, may be behind
    run = flow_run(site.api, "extract-watched")
    of_run = {"flow_runs": {"id": {"any_": [run["id"]]}}}
    partitions = -(-len(open_store(str(site.folder / "watched")).rows()) // 4)
    tasks = {one["name"]: one["state_type"] for one in records(site.api, "task_runs", **of_run)}
    assert tasks == {f"partition-{n:04d}": "COMPLETED" for n in range(partitions)}
    logs = records(site.api, "logs", logs={"flow_run_id": {"any_": [run["id"]]}})
    worker_logs = [log["message"] for log in logs if log["name"] == "meldflow.stages"]
    assert any("train/dia0_utt1 audio/librosa: unreadable" in one for one in worker_logs)


def test_runs_lists_the_server_s_and_those_of_a_store(site: Site) -> None:
    own = ("runs", "--flow", "extract", "--state", "completed", "--store")
    listed = command.here(*own, site.folder / "watched", "--json", cwd=site.folder, api=site.api)
    (run,) = json.loads(listed.stdout)
    assert (run["flow"], run["share"]) == ("extract", 1.0)
    assert re.fullmatch(r"extract-watched-\d{8}-\d{6}", run["name"])
    shown = command.here(*own, "watched", "--limit", "1", cwd=site.folder, api=site.api).stdout
    assert run["name"] in shown
    for other in (("--flow", "train"), ("--state", "failed"), ("--store", "atched")):
        none = command.here(*own, "watched", *other, cwd=site.folder, api=site.api)
        assert none.stdout == "no runs yet\n"
    recorded = command.here("runs", "watched", "--json", cwd=site.folder)
    (run,) = json.loads(recorded.stdout)
    assert run["finished"]
    assert run["load"]["workers"] == 1
    assert run["load"]["memory_max"] > 1e7
    load = open_store(str(site.folder / "watched")).attached(0, "load")
    assert set(load["worker"].tolist()) == {"cpu-0", "scheduler"}
    assert len(load["seconds"]) == len(load["cpu"]) > 1


def test_every_metric_of_the_dashboard_is_served(site: Site) -> None:
    served = {re.split(r"[{]", name)[0] for name in metrics(site.workers)}
    assert dashboard_metrics() <= served
    rows = site.report["extracted"]["audio/librosa"]
    done = 'meldflow_features_total{extractor="audio/librosa",outcome="ok"}'
    failed = 'meldflow_failures_total{extractor="audio/librosa",reason="unreadable"}'
    assert (site.counted[done], site.counted[failed]) == (rows, 1)
    # Prometheus sees no growth of a series that begins with it.
    none = 'meldflow_features_total{extractor="text/minilm",outcome="failed"}'
    assert {none, 'meldflow_partitions_total{event="retried"}'} <= set(metrics(site.workers))


def test_too_many_failures_fail_the_run_leave_main_alone_and_a_report(site: Site) -> None:
    shutil.copytree(site.folder / "data", site.folder / "bad")
    for clip in (site.folder / "bad").rglob("*.mp4"):
        clip.write_text("not a film")
    arguments = ("extract", site.folder / "bad", "--store", "bad-store", *ONLY)
    on = ("--cluster", site.workers.profile)
    done = command.run(*arguments, *on, cwd=site.folder, code=1, api=site.api)
    (message,) = [line for line in done.stderr.splitlines() if line.startswith("meldflow: ")]
    assert "audio/librosa failed on" in message
    assert "unreadable" in message
    assert open_store(str(site.folder / "bad-store")).is_empty
    shown = artifacts(site.api, "extract-bad-store")
    assert "The run ended early: audio/librosa failed on" in shown["extract-report"]["data"]
    assert "main did not move" in shown["extract-report"]["data"]
    assert flow_run(site.api, "extract-bad-store")["state_type"] == "FAILED"
    ended = command.here("watch", "extract-bad-store", cwd=site.folder, code=1, api=site.api)
    assert re.match("extract-bad-store.*: Failed", ended.stdout)


def test_watching_what_is_not_there_is_said_in_a_line(site: Site) -> None:
    done = command.here("runs", "watched", "--flow", "train", cwd=site.folder, code=2)
    assert "choose among the Prefect server's runs" in done.stderr
    done = command.here("watch", "nope", cwd=site.folder, code=2, api=site.api)
    assert "no run is called 'nope'" in done.stderr
    done = command.run("runs", cwd=site.folder, code=2, api="http://127.0.0.1:9/api")
    assert done.stderr.startswith("meldflow: prefect server http://127.0.0.1:9/api: ")
    assert len(done.stderr.strip().splitlines()) == 1
