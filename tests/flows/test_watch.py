"""What a person sees of real runs: artifacts, metrics, `meldflow runs` and `meldflow watch`."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from meldflow.storage import open_store
from meldflow.tasks.demo.dataset import synthesise
from tests.flows import command
from tests.flows.servers import flow_run, records
from tests.tasks.watching.test_monitor import dashboard_metrics

WORKER = ("--nthreads", "1", "--no-dashboard", "--name", "cpu-0", "--resources", "cpu=1 model=1")
ONLY = ("--only", "audio/librosa", "--only", "text/minilm", "--partition", "4", "--batch", "2")
WORKER = ("--nthreads", "1", "--no-dashboard", "--name", "cpu-0", "--resources", "cpu=1 model=1")


@dataclass(frozen=True, kw_only=True)
class Site:
    """A Prefect server, a Dask scheduler with a worker, a data set, and a run that was watched."""

    folder: Path
    api: str
    metrics: str
    """Address of the scheduler's metrics."""
    profile: Path
    report: dict[str, Any]
    """What `extract --json` said."""
    watched: list[dict[str, Any]]
    """What `watch --json` said meanwhile."""


@pytest.fixture(scope="module")
def site(api: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("watch")
    synthesise(folder / "data", dialogues=3, seed=5)
    (folder / "data" / "train_splits" / "dia0_utt1.mp4").write_text("not a film")
    with cluster(folder) as (scheduler, metrics):
        profile = folder / "cluster.yaml"
        profile.write_text(f"kind: address\naddress: {scheduler}\n")
        arguments = ("extract", folder / "data", "--store", "watched", *ONLY, "--cluster", profile)
        run = command.start(*arguments, "--json", cwd=folder, api=api)
        while not records(api, "flow_runs", flow_runs={"name": {"any_": ["extract-watched"]}}):
            assert run.poll() is None
            time.sleep(0.2)
        watch = command.run("watch", "--json", "--interval", "0.5", cwd=folder, api=api)
        out, err = run.communicate(timeout=300)
        assert run.returncode == 0, err
        yield Site(
            folder=folder,
            api=api,
            metrics=metrics,
            profile=profile,
            report=json.loads(out),
            watched=[json.loads(line) for line in watch.stdout.splitlines()],
        )


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[tuple[str, str]]:
    """Addresses of a scheduler with one worker, and of its metrics."""
    with contextlib.ExitStack() as stack:
        ports = []
        for _ in range(2):
            probe = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ports.append(str(probe.getsockname()[1]))
        stack.close()
        scheduler, page = (f"127.0.0.1:{port}" for port in ports)
        where = ("--host", "127.0.0.1")
        commands = (
            ("scheduler", *where, "--port", ports[0], "--dashboard-address", page),
            ("worker", f"tcp://{scheduler}", *where, *WORKER),
        )
        with (folder / "cluster.log").open("wb") as log:
            processes = [
                subprocess.Popen(
                    [sys.executable, "-m", "dask", *one], stdout=log, stderr=log, cwd=folder
                )
                for one in commands
            ]
        try:
            yield f"tcp://{scheduler}", f"http://{page}/metrics"
        finally:
            for process in reversed(processes):
                process.terminate()
                process.wait(30)


def artifacts(api: str, name: str) -> dict[str, dict[str, Any]]:
    """Key → artifact of the newest run of that name."""
    newest = max(
        records(api, "flow_runs", flow_runs={"name": {"any_": [name]}}),
        key=lambda run: run["created"],
    )
    found = records(api, "artifacts", artifacts={"flow_run_id": {"any_": [newest["id"]]}})
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
    assert site.metrics.removesuffix("/metrics") in shown["dask-dashboard"]["data"]
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


def test_runs_lists_the_server_s_and_those_of_a_store(site: Site) -> None:
    listed = command.run("runs", "--json", cwd=site.folder, api=site.api)
    (run,) = [one for one in json.loads(listed.stdout) if one["name"] == "extract-watched"]
    assert (run["flow"], run["share"]) == ("extract", 1.0)
    assert "extract-watched" in command.run("runs", cwd=site.folder, api=site.api).stdout
    recorded = command.run("runs", "watched", "--json", cwd=site.folder)
    (run,) = json.loads(recorded.stdout)
    assert run["finished"]
    assert run["load"]["workers"] == 1
    assert run["load"]["memory_max"] > 1e7
    load = open_store(str(site.folder / "watched")).attached(0, "load")
    assert set(load["worker"].tolist()) == {"cpu-0", "scheduler"}
    assert len(load["seconds"]) == len(load["cpu"]) > 1


def test_every_metric_of_the_dashboard_is_served(site: Site) -> None:
    with urllib.request.urlopen(site.metrics, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    served = {re.split(r"[{ ]", line)[0] for line in lines if not line.startswith("#")}
    assert dashboard_metrics() <= served
    rows = site.report["extracted"]["audio/librosa"]
    assert f'meldflow_features_total{{extractor="audio/librosa",outcome="ok"}} {rows}.0' in lines
    failure = 'meldflow_failures_total{extractor="audio/librosa",reason="unreadable"} 1.0'
    assert failure in lines


def test_a_run_that_fails_leaves_its_report_too(site: Site) -> None:
    synthesise(site.folder / "bad", dialogues=3, seed=5)
    for clip in (site.folder / "bad").rglob("*.mp4"):
        clip.write_text("not a film")
    arguments = ("extract", site.folder / "bad", "--store", "bad-store", *ONLY)
    command.run(*arguments, "--cluster", site.profile, cwd=site.folder, code=1, api=site.api)
    shown = artifacts(site.api, "extract-bad-store")
    assert "The run ended early: audio/librosa failed on" in shown["extract-report"]["data"]
    assert "main did not move" in shown["extract-report"]["data"]
    assert flow_run(site.api, "extract-bad-store")["state_type"] == "FAILED"
    ended = command.run("watch", "extract-bad-store", cwd=site.folder, code=1, api=site.api)
    assert "extract-bad-store: Failed" in ended.stdout


def test_watching_what_is_not_there_is_said_in_a_line(site: Site) -> None:
    done = command.run("watch", "nope", cwd=site.folder, code=2, api=site.api)
    assert "no run is called 'nope'" in done.stderr
    done = command.run("runs", cwd=site.folder, code=2, api="http://127.0.0.1:9/api")
    assert done.stderr.startswith("meldflow: prefect server http://127.0.0.1:9/api: ")
    assert len(done.stderr.strip().splitlines()) == 1
