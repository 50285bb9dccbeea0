"""Whose name a run bears, and that no service leaves anything behind."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest
from prefect.utilities.names import generate_slug

from meldflow.flows.serving.names import is_drawn
from meldflow.flows.serving.site import supervisor
from tests.flows.servers import until


@pytest.mark.parametrize(
    "name", ["Ross, again", "store", "red", "first-try", "Small-trial", "Friday-Night", "a-b", ""]
)
def test_a_name_that_somebody_typed_is_kept(name: str) -> None:
    assert not is_drawn(name)


def test_what_prefect_draws_is_no_name() -> None:
    drawn = [generate_slug(2) for _ in range(300)]
    assert all(map(is_drawn, [*drawn, "Tasty-Zebu", "Sleek-Yak", "Small-Nutria"]))


def test_what_a_killed_service_has_started_is_found(tmp_path: Path) -> None:
    command = ("sh", "-c", "sleep 600 & echo $!; wait")
    service = supervisor.start(command, os.environ, tmp_path / "log")
    until(lambda: (tmp_path / "log").read_text().endswith("\n"), 10)
    left = psutil.Process(int((tmp_path / "log").read_text()))
    service.kill()
    service.wait()
    assert left.is_running()
    supervisor.stop([service], 1.0)
    assert not left.is_running()
