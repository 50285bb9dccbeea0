"""The Prefect UI as a person sees it, in a browser: forms, schedules, runs, artifacts, a retry.

``MELDFLOW_SCREENSHOTS=docs`` (``make screenshots``) saves the pictures of the README there.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from meldflow.tasks.demo.dataset import synthesise
from tests.flows import command
from tests.flows.servers import OVER, Served, ask, extraction, until, up
from tests.flows.test_resume import committed_partitions

if TYPE_CHECKING:
    from playwright.sync_api import Page

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH to look with"),
]

FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("browser")
    synthesise(folder / "data", dialogues=6, seed=3)
    with up(folder) as running:
        yield running


@pytest.fixture
def page(served: Served) -> Iterator[Page]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        opened = browser.new_page(viewport={"width": 1280, "height": 900}, locale="en-GB")
        opened.set_default_timeout(60_000)  # a busy machine takes its time
        yield opened
        browser.close()


def picture(page: Page, name: str) -> None:
    """Keeps what is on the screen, for the README if somebody asks."""
    folder = Path(os.environ.get("MELDFLOW_SCREENSHOTS", "") or "/dev/null")
    if folder.is_dir():
        page.wait_for_timeout(1500)  # until the graphs have come to rest
        page.screenshot(path=folder / f"ui-{name}.png")


def show(page: Page, served: Served, path: str) -> None:
    page.goto(f"{served.ui}/v2/{path}", wait_until="domcontentloaded")


def test_the_form_of_the_pipeline_starts_a_run_that_completes(served: Served, page: Page) -> None:
    show(page, served, "deployments")
    page.get_by_text("pipeline").first.wait_for()
    picture(page, "deployments")
    deployment = served.deployment("pipeline")["id"]
    show(page, served, f"deployments/deployment/{deployment}/run")

    page.get_by_label("Data set", exact=True).fill(str(served.folder / "data"))
    assert not page.get_by_label("Folder of clips").count()
    assert not page.get_by_label("Train afterwards").count()
    page.get_by_label("Store", exact=True).fill(str(served.folder / "store"))
    choose_extractors(page, "audio/librosa", "text/minilm")
    page.get_by_role("button", name="Select Weights").click()
    page.get_by_role("option", name="random").click()
    page.get_by_label("Report (Optional)").fill(str(served.folder / "report"))
    page.get_by_label("Epochs (at most) (Optional)").fill("2")
    page.get_by_label("Data set", exact=True).scroll_into_view_if_needed()
    picture(page, "form")
    page.get_by_role("button", name="Submit").click()
    until(lambda: bool(served.runs("pipeline")), 30)

    (run,) = served.runs("pipeline")
    assert run["parameters"]["extraction"]["weights"] == "random"
    proposed = run["name"]
    assert served.finish(run["id"]) == "COMPLETED", served.logs(run["id"])
    show(page, served, f"runs/flow-run/{run['id']}")
    page.get_by_text("Completed").first.wait_for()

    # The form proposes an animal: that is no name.
    assert re.fullmatch("[A-Z][a-z]+-[A-Z].*", proposed)
    assert served.get(f"flow_runs/{run['id']}")["name"].startswith("pipeline-store-")
    (extracted,) = listed(served, "--flow", "extract", "--store", "store")
    show(page, served, f"runs/flow-run/{extracted['id']}?tab=Artifacts")
    page.locator("a[href*='/artifacts/']").first.wait_for()
    page.get_by_text("extract-report").first.click()
    page.wait_for_url("**/artifacts/**")
    page.get_by_text("Where the time went").first.wait_for()
    picture(page, "report")


def choose_extractors(page: Page, *names: str) -> None:
    page.get_by_role("button", name="Select Extractors").click()
    for extractor in names:
        page.get_by_role("option", name=extractor).click()
    page.keyboard.press("Escape")


def listed(served: Served, *chosen: str) -> list[dict[str, Any]]:
    """What `meldflow runs` says, which leaves out what is only scheduled."""
    shown = command.run("runs", *chosen, "--json", cwd=served.folder, api=served.api)
    return list(json.loads(shown.stdout))


def test_a_form_refuses_early_and_a_run_keeps_its_name(served: Served, page: Page) -> None:
    show(page, served, f"deployments/deployment/{served.deployment('extract')['id']}/run")
    page.get_by_label("Run Name").fill("Ross, again")
    page.get_by_label("Store", exact=True).fill(str(served.folder / "named"))
    choose_extractors(page, "audio/librosa")
    data, submit = (
        page.get_by_label("Data set (Optional)"),
        page.get_by_role("button", name="Submit"),
    )
    for given, clips, says in (
        ("nowhere", "", "Data set: nowhere does not exist"),
        ("", "", "'dataset' is a required property"),
        ("data", "data", "'data' is expected to be empty"),
    ):
        data.fill(given)
        page.get_by_label("Folder of clips (Optional)").fill(clips)
        submit.click()
        page.get_by_text(says).first.wait_for()
        assert not served.runs("extract")
    page.get_by_label("Folder of clips (Optional)").fill("")
    for _ in range(2):  # the form looks at what was wrong at the click before
        if not served.runs("extract"):
            submit.click()
            page.wait_for_timeout(5_000)
    (run,) = served.runs("extract")
    assert served.finish(run["id"]) == "COMPLETED", served.logs(run["id"])
    show(page, served, "runs")
    page.get_by_text("Ross, again").first.wait_for()
    assert [one["name"] for one in listed(served, "--store", "named")] == ["Ross, again"]
    assert listed(served, "--store", "named", "--state", "failed") == []


def test_what_fails_is_told_in_a_sentence(served: Served, page: Page) -> None:
    options = extraction(served.folder / "data", served.folder / "failed", weights_of=["a=/none"])
    run = served.start("extract", options)
    assert served.finish(run) == "FAILED"
    show(page, served, f"runs/flow-run/{run}")
    page.get_by_text("ERROR").first.wait_for()
    error, *_ = [one for one in served.records(run) if one["level"] == logging.ERROR]
    assert error["message"].startswith("no extractor is called 'a'")
    assert "Traceback" in error["message"]
    page.get_by_text("no extractor is called").first.wait_for()


def test_a_schedule_fires_and_clips_that_arrive_meanwhile_are_next(
    served: Served, page: Page
) -> None:
    """The schedule of every minute is switched on in the UI; clips arrive during its first run."""
    data, store = served.folder / "growing", served.folder / "scheduled"
    synthesise(data, dialogues=4, seed=3)
    found = served.deployment("extract")
    url = f"{served.api}/deployments/{found['id']}"
    values = extraction(data, store, wait=60)
    httpx.patch(url, json={"parameters": values}, timeout=30).raise_for_status()
    (nightly,) = found["schedules"]
    often = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}}
    httpx.patch(f"{url}/schedules/{nightly['id']}", json=often, timeout=30).raise_for_status()
    show(page, served, f"deployments/deployment/{found['id']}")
    switch = page.get_by_role("switch").first
    switch.click()
    until(lambda: bool(runs_on(store, served)), 120)
    until(lambda: committed_partitions(store) > 0, 90)
    late = data / "train_splits" / "dia0_utt0.mp4"
    shutil.copy(data / "train_splits" / "dia0_utt1.mp4", late)  # other sound than the last look
    until(lambda: len(finished(store, served)) >= 2, 240)
    switch.click()
    first, second = finished(store, served)[:2]
    assert (first["auto_scheduled"], first["state_type"]) == (True, "COMPLETED")
    assert re.fullmatch(r"extract-scheduled-\d{8}-\d{6}", first["name"])
    assert first["name"] != second["name"]
    until(lambda: "1 changed" in served.logs(first["id"]) + served.logs(second["id"]), 20)


def runs_on(store: Path, served: Served) -> list[dict[str, Any]]:
    """Runs on a store that have begun, the first of them first."""
    runs = [one for one in served.runs("extract") if one["start_time"]]
    own = [one for one in runs if one["parameters"]["options"]["store"] == str(store)]
    return sorted(own, key=lambda one: str(one["start_time"]))


def finished(store: Path, served: Served) -> list[dict[str, Any]]:
    return [one for one in runs_on(store, served) if one["state_type"] in OVER]


def test_a_retry_is_seen_after_the_scheduler_was_killed(served: Served, page: Page) -> None:
    run = served.start("extract", extraction(served.folder / "data", served.folder / "retried"))
    until(lambda: tasks(served, run, "RUNNING"), 90)
    (scheduler,) = served.processes("scheduler")
    scheduler.send_signal(signal.SIGKILL)
    until(lambda: any(one["run_count"] > 1 for one in task_runs(served, run)), 90)
    assert served.finish(run) == "COMPLETED", served.logs(run)
    (again, *_) = [one for one in task_runs(served, run) if one["run_count"] > 1]
    show(page, served, f"runs/task-run/{again['id']}")
    page.get_by_text("Retry 1/").first.wait_for()
    page.get_by_text("Run Count").first.wait_for()
    picture(page, "retry")


def test_a_killed_worker_is_told_wherever_one_looks(served: Served, page: Page) -> None:
    data, store = served.folder / "data", served.folder / "bereaved"
    slow = ["audio/librosa.f0=pyin"]
    run = served.start("extract", extraction(data, store, parameters=slow))
    until(lambda: committed_partitions(store) > 0, 120)
    nanny = served.processes("dask", "worker")[0]
    (worker,) = [one for one in nanny.children() if "spawn_main" in " ".join(one.cmdline())]
    worker.kill()
    until(lambda: "worker lost" in artifact(served, run, "extract-progress")["description"], 60)

    show(page, served, f"runs/flow-run/{run}")
    page.get_by_text("Beginning flow run").first.wait_for()
    page.mouse.move(500, 800)
    page.mouse.wheel(0, 100_000)  # the page draws the lines of the log that are in sight
    told = page.get_by_text(LOSS).first
    told.wait_for()
    told.scroll_into_view_if_needed()
    picture(page, "loss-log")
    progress = artifact(served, run, "extract-progress")
    show(page, served, f"artifacts/artifact/{progress['id']}")
    page.get_by_text("1 worker lost").first.wait_for()
    picture(page, "loss-progress")
    workers = artifact(served, run, "extract-workers")
    assert sum(one["lost"] for one in json.loads(workers["data"])) == 1
    show(page, served, f"artifacts/artifact/{workers['id']}")
    page.get_by_text("lost", exact=True).first.wait_for()
    picture(page, "loss-workers")
    assert served.finish(run) == "COMPLETED", served.logs(run)
    report = artifact(served, run, "extract-report")
    assert "1 worker lost" in report["data"]
    show(page, served, f"artifacts/artifact/{report['id']}")
    page.get_by_text("1 worker lost").first.wait_for()
    picture(page, "loss-report")


LOSS = re.compile("worker .* lost")


def artifact(served: Served, run: str, key: str) -> dict[str, Any]:
    """One of a run's artifacts as it is now."""
    of_run = {"flow_run_id": {"any_": [run]}, "key": {"any_": [key]}}
    (found,) = ask(served.api, "artifacts/filter", {"artifacts": of_run})
    return dict(found)


def task_runs(served: Served, run: str) -> list[dict[str, Any]]:
    return list(ask(served.api, "task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}}))


def tasks(served: Served, run: str, state: str) -> bool:
    return any(one["state_type"] == state for one in task_runs(served, run))
