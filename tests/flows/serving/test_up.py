"""`meldflow up`, `deploy`, `notify` and the deployments, as processes of their own."""

from __future__ import annotations

import json
import logging
import os
import re
import resource
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from meldflow.flows.serving.site.home import open_home
from meldflow.flows.serving.site.supervisor import last_line
from meldflow.flows.serving.steps import in_one_sentence
from meldflow.models.schema.errors import UsageError
from meldflow.storage import open_store
from meldflow.storage.places import location
from tests.flows import command, strangers
from tests.flows.servers import ONLY, Served, ask, extraction, until, up
from tests.flows.test_resume import committed_partitions
from tests.rig import write_dataset

REGISTERED = {"id", "parameters", "entrypoint", "parameter_openapi_schema", "pull_steps"}
REGISTERED |= {"job_variables"}


@pytest.fixture(scope="module")
def served(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """In a folder of strangers: none of them is imported, by no service and no run."""
    folder = tmp_path_factory.mktemp("up")
    shutil.copytree(demo, folder / "data")
    imported = strangers.settle(folder)
    defaults = ("--dataset", "data", "--store", "store", "--only", *ONLY, "--workers", "1")
    with up(folder, *defaults, environment=strangers.environment()) as running:
        yield running
    assert not imported.exists(), imported.read_text()


@pytest.fixture
def data(served: Served) -> Path:
    return served.folder / "data"


def test_what_is_registered_and_that_registering_again_changes_nothing(served: Served) -> None:
    names = ("audit", "extract", "train", "pipeline", "maintain", "poll")
    before = {name: served.deployment(name) for name in names}
    assert before["extract"]["concurrency_options"] == {
        "collision_strategy": "ENQUEUE",
        "grace_period_seconds": None,
    }
    alive = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30"}
    assert all(one["job_variables"] == {"env": alive} for one in before.values())
    assert before["train"]["parameters"] == {"options": {"store": str(served.folder / "store")}}
    (nightly,) = before["extract"]["schedules"]
    assert (nightly["slug"], nightly["active"]) == ("nightly", False)
    automations = {one["name"]: one for one in ask(served.api, "automations/filter", {})}
    assert set(automations) == {"extract when a data set changed", "mark dead runs Crashed"}

    switch(served, "extract", on=True)
    shown = command.run(
        "deploy", "--directory", served.folder, "--json", cwd=served.folder, api=served.api
    )
    (slugs,) = [
        one["schedules"]
        for one in json.loads(shown.stdout)["deployments"]
        if one["name"] == "extract"
    ]
    assert slugs == ["nightly"]
    for name in names:
        after = served.deployment(name)
        for field in (
            "id",
            "parameters",
            "entrypoint",
            "parameter_openapi_schema",
            "pull_steps",
            "job_variables",
        ):
            assert after[field] == before[name][field]
    # Nor is one written anew, or the server would forget which runs it waits to hear of.
    again = {one["name"]: one for one in ask(served.api, "automations/filter", {})}
    assert again == automations
    switch(served, "extract", on=False)


def switch(served: Served, deployment: str, *, on: bool) -> None:
    found = served.deployment(deployment)
    (schedule,) = found["schedules"]
    url = f"{served.api}/deployments/{found['id']}/schedules/{schedule['id']}"
    httpx.patch(url, json={"active": on}, timeout=30).raise_for_status()


def test_notify_starts_a_run_and_that_one_a_training(served: Served, data: Path) -> None:
    told = command.run("notify", data, "--json", cwd=served.folder, api=served.api)
    (run,) = json.loads(told.stdout)["runs"]
    assert served.finish(run) == "COMPLETED", served.logs(run)
    found = served.get(f"flow_runs/{run}")
    assert re.fullmatch(r"extract-store-\d{8}-\d{6}", found["name"])
    assert found["parameters"]["options"]["dataset"] == str(data)
    snapshot = open_store(str(served.folder / "store"))

    options = extraction(data, served.folder / "store", then_train=True)
    follow = served.start("extract", options)
    assert served.finish(follow) == "COMPLETED", served.logs(follow)
    (training,) = served.runs("train")
    assert training["parameters"]["options"]["snapshot"] == snapshot.id
    cancel(served, training["id"])


def test_commands_use_its_server(
    served: Served, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MELDFLOW_HOME", str(served.folder / "home"))
    done = command.run("audit", data, cwd=served.folder)
    assert f"Prefect UI: {served.ui}" in done.stderr
    assert "audit-data-" in command.run("runs", "--flow", "audit", cwd=served.folder).stdout


@pytest.mark.slow
def test_the_poll_tells_of_a_change_that_has_settled(served: Served, data: Path) -> None:
    known = {one["id"] for one in served.runs("extract")}
    looks = [served.start("poll", {"options": {"dataset": str(data)}}) for _ in range(2)]
    assert [served.finish(one) for one in looks] == ["COMPLETED"] * 2
    # Logs arrive a little later than states.
    until(lambda: sum("files): told" in served.logs(one) for one in looks) == 1, 20)
    until(lambda: {one["id"] for one in served.runs("extract")} > known, 30)
    (started,) = [one for one in served.runs("extract") if one["id"] not in known]
    assert started["created_by"]["type"] == "AUTOMATION"
    assert served.finish(started["id"]) == "COMPLETED"
    until(lambda: "stale: " in served.logs(started["id"]), 20)
    for _ in range(2):
        assert served.finish(served.start("poll", {"options": {"dataset": str(data)}}))
    names = [one["state_name"] for one in served.runs("poll")]
    assert sorted(names) == ["Completed", "Completed", "Nothing new"]
    assert "poll" not in command.run("watch", cwd=served.folder, api=served.api).stdout


def test_a_cancelled_run_stops_and_goes_on_later(served: Served, data: Path) -> None:
    store = served.folder / "cancelled"
    # Slow enough that most of it is still to do when the first rows are committed.
    slow = extraction(data, store, partition=1, parameters=["audio/librosa.f0=pyin"])
    run = served.start("extract", slow, name="before lunch")
    until(lambda: committed_partitions(store) > 0, 90)
    cancel(served, run)
    asked = time.monotonic()
    assert served.get(f"flow_runs/{run}")["name"] == "before lunch"
    until(lambda: served.dask()["processing"] == 0, 10)
    assert served.finish(run) == "CANCELLED"
    assert time.monotonic() - asked < 45
    # By the run itself, not by who started it, which takes three to ten seconds more.
    assert served.get(f"flow_runs/{run}")["state"]["message"] == "Flow run was cancelled."
    log = (served.folder / "home" / "logs" / "prefect-worker.log").read_text()
    assert "Traceback" not in log, log
    with location.writer_lock(str(store)):
        kept = committed_partitions(store)
    again = served.start("extract", slow)
    assert served.finish(again) == "COMPLETED"
    left = len(open_store(str(store)).rows()) - kept
    assert left > 0
    until(lambda: "stale: " in served.logs(again), 20)
    assert f"stale: {{'audio/librosa': {left}}}" in served.logs(again), served.logs(again)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"dataset": "nowhere"}, "Data set: nowhere does not exist"),
        ({"dataset": "data", "clips": "data"}, "'data' is expected to be empty"),
        ({"dataset": ""}, "'' should be non-empty"),
        ({"dataset": "data", "weights_of": ["random"]}, "'random' does not match"),
        ({"dataset": "data", "batch": 1000}, "greater than the maximum of 256"),
        ({"dataset": "data", "cluster": "nowhere.yaml"}, "Cluster profile: nowhere.yaml"),
        ({"clips": "data", "dataset": ""}, ""),
    ],
)
def test_a_form_refuses_what_can_only_fail(
    served: Served, given: dict[str, Any], says: str
) -> None:
    deployment = served.deployment("extract")
    values = {"options": {"store": "s", **given}}
    schema = deployment["parameter_openapi_schema"]
    checked = ask(served.api, "ui/schemas/validate", {"schema": schema, "values": values})
    assert checked["valid"] is not bool(says)
    assert says in json.dumps(checked, ensure_ascii=False)
    if says:
        # The form does not wait for that answer.
        url = f"{served.api}/deployments/{deployment['id']}/create_flow_run"
        answer = httpx.post(url, json={"parameters": values}, timeout=30)
        assert answer.status_code == httpx.codes.CONFLICT
        assert says in answer.json()["detail"]


def test_what_fails_as_we_know_is_told_in_one_sentence() -> None:
    failed = UsageError("dataset x: does not exist")
    record = logging.LogRecord(
        "prefect.flow_runs", 40, "", 1, "long", (), (UsageError, failed, None)
    )
    assert in_one_sentence(record)
    assert record.getMessage() == "dataset x: does not exist"
    record.msg = "Engine execution exited with unexpected exception"
    assert not in_one_sentence(record)
    other = logging.LogRecord("prefect.engine", 40, "", 1, "%s", (1,), (OSError, OSError(), None))
    assert (in_one_sentence(other), other.getMessage()) == (True, "1")


def cancel(served: Served, run: str) -> None:
    ask(served.api, f"flow_runs/{run}/set_state", {"state": {"type": "CANCELLING"}})


@pytest.mark.slow
def test_a_run_waits_for_a_busy_store(served: Served, data: Path) -> None:
    store = served.folder / "busy"
    with location.writer_lock(str(store)):
        run = served.start("extract", extraction(data, store, wait=60, partition=64, batch=8))
        until(lambda: "waiting, " in served.logs(run), 60)
    assert served.finish(run) == "COMPLETED"


def test_what_dies_is_started_again(served: Served) -> None:
    (scheduler,) = served.processes("scheduler")
    (server,) = served.processes("server", "--port")
    scheduler.send_signal(signal.SIGKILL)
    server.send_signal(signal.SIGKILL)
    # Each death is found on a look of its own: neither line waits for the other.
    names = ("dask-scheduler", "prefect-server")
    lines = [f"{name} ended (SIGKILL), restarting in 1 s" for name in names]
    until(lambda: all(line in served.said for line in lines), 30)

    def back() -> bool:
        try:
            return served.dask()["workers"] > 0 and bool(served.deployment("extract"))
        except Exception:
            return False

    until(back, 90)


def test_a_second_up_on_the_same_home_or_port_is_refused(served: Served, tmp_path: Path) -> None:
    home = served.folder / "home"
    done = command.run("up", "--home", home, "--port", "4999", cwd=tmp_path, code=2)
    assert f"is running on it already (process {served.process.pid})" in done.stderr
    taken = ("--port", str(served.port))
    done = command.run("up", "--home", tmp_path / "home", *taken, cwd=tmp_path, code=2)
    assert f"port {served.port} of 127.0.0.1: cannot be used" in done.stderr
    (tmp_path / "file").write_text("")
    done = command.run("up", "--home", tmp_path / "file" / "home", cwd=tmp_path, code=2)
    assert "cannot be written" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("how", ["SIGTERM", "SIGKILL"])
def test_nothing_is_left_running(how: str, tmp_path: Path) -> None:
    with up(tmp_path) as running:
        assert len(running.processes()) > 4
        os.kill(running.process.pid, getattr(signal, how))
        running.process.wait(60)
        until(lambda: not running.processes(), 30)


def test_the_last_word_of_a_service_is_its_error(tmp_path: Path) -> None:
    log = tmp_path / "service.log"
    refused = "ConnectionRefusedError: [Errno 111] Connect call failed ('127.0.0.1', 9)"
    said = {
        "": "it wrote nothing",
        "ready\nit goes on\n": "it goes on",
        f"    raise OSError(err)\n{refused}\n\nERROR:    Exiting.\nServer stopped!\n": refused,
        f"{refused}\n" + "started again\n" * 10: "started again",
    }
    for text, last in said.items():
        log.write_text(text)
        assert last_line(log) == last


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("deploy",), "it does not answer; start one with `meldflow up`"),
        (("notify", "data.csv"), "it does not answer"),
        (("notify", "nowhere"), "nowhere: does not exist"),
        (("up", "--dataset", "nowhere"), "nowhere: does not exist"),
        (("deploy", "--weights", "/no/model"), "as NAME=PATH"),
        (("deploy", "--only", "audio/none"), "no extractor is called 'audio/none'"),
    ],
)
def test_without_a_server(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    write_dataset(tmp_path / "data.csv", ["Hi."])
    done = command.run(*arguments, cwd=tmp_path, code=2, api="http://127.0.0.1:9/api")
    assert says in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.slow
def test_notify_says_that_nobody_is_there_to_run_it(api: str, tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data.csv", ["Hi."])
    command.run("deploy", "--store", "store", cwd=tmp_path, api=api)
    done = command.run("notify", data, cwd=tmp_path, api=api)
    assert "a run starts as soon as a Prefect worker asks for the work pool meldflow" in done.stdout


def test_a_full_disk_is_told(tmp_path: Path) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, most))
    try:
        with pytest.raises(UsageError, match="cannot be written"), open_home(tmp_path, ""):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
