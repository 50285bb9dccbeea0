"""The Prefect UI as a person sees it, in a browser: the form, a run, its artifacts, a retry.

``MELDFLOW_SCREENSHOTS=docs`` (``make screenshots``) saves the pictures of the README there.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from meldflow.tasks.demo.dataset import synthesise
from tests.flows.servers import Served, ask, extraction, until, up

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

    page.get_by_label("Data set (Optional)").fill(str(served.folder / "data"))
    page.get_by_label("Store", exact=True).fill(str(served.folder / "store"))
    page.get_by_role("button", name="Select Extractors").click()
    for extractor in ("audio/librosa", "text/minilm"):
        page.get_by_role("option", name=extractor).click()
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Select Weights").click()
    page.get_by_role("option", name="random").click()
    page.get_by_label("Report (Optional)").fill(str(served.folder / "report"))
    page.get_by_label("Epochs (at most) (Optional)").fill("2")
    page.get_by_label("Data set (Optional)").scroll_into_view_if_needed()
    picture(page, "form")
    page.get_by_role("button", name="Submit").click()
    until(lambda: bool(served.runs("pipeline")), 30)

    (run,) = served.runs("pipeline")
    assert run["parameters"]["extraction"]["weights"] == "random"
    assert served.finish(run["id"]) == "COMPLETED", served.logs(run["id"])
    show(page, served, f"runs/flow-run/{run['id']}")
    page.get_by_text("Completed").first.wait_for()

    store = served.folder / "store"
    named = {"flow_runs": {"name": {"any_": [f"extract-{store}"]}}}
    (extracted,) = ask(served.api, "flow_runs/filter", named)
    show(page, served, f"runs/flow-run/{extracted['id']}?tab=Artifacts")
    page.locator("a[href*='/artifacts/']").first.wait_for()
    page.get_by_text("extract-report").first.click()
    page.wait_for_url("**/artifacts/**")
    page.get_by_text("Where the time went").first.wait_for()
    picture(page, "report")


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


def task_runs(served: Served, run: str) -> list[dict[str, Any]]:
    return list(ask(served.api, "task_runs/filter", {"flow_runs": {"id": {"any_": [run]}}}))


def tasks(served: Served, run: str, state: str) -> bool:
    return any(one["state_type"] == state for one in task_runs(served, run))
