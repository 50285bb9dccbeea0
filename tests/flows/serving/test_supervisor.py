"""In which order what `meldflow up` started is asked to end."""

from __future__ import annotations

from pathlib import Path

import pytest

from meldflow.flows.serving.site.services import Service
from meldflow.flows.serving.site.supervisor import supervising

WAIT = "while :; do sleep 0.1; done"
RUN = f"trap 'sleep 0.3; echo yes > committed; exit' TERM; touch started; {WAIT}"
PARENT = f"""sh -c "{RUN}" & trap 'kill -9 $!; exit' TERM; {WAIT}"""
"""What kills its child at once when it is asked to end, as a Prefect worker does its runs."""


@pytest.mark.parametrize("ends_last", [True, False])
def test_a_flow_run_is_asked_before_the_worker_that_would_kill_it(
    tmp_path: Path, ends_last: bool
) -> None:
    service = Service(
        name="worker",
        command=("sh", "-c", f"cd {tmp_path}; {PARENT}"),
        environment={},
        log=tmp_path / "log",
        is_ready=(tmp_path / "started").exists,
        ends_last=ends_last,
    )
    with supervising(print) as supervisor:
        supervisor.launch(service)
        supervisor.wait()
    assert (tmp_path / "committed").exists() is ends_last
