from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from meldflow.models.schema.errors import RunError
from meldflow.storage.writing.transaction import FailureRate, open_run
from meldflow.tasks.extraction.committing import run_partitions
from meldflow.tasks.extraction.counts import Monitor
from meldflow.tasks.extraction.failures import FailureLimit, check_failures
from tests.tasks.isolated.evil import Evil

SILENT, TIMEOUT = ("text/x", "silent"), ("text/x", "timeout")


def rate(tried: int, **reasons: int) -> FailureRate:
    failed = sum(reasons.values())
    return FailureRate(extractor="text/x", tried=tried, failed=failed, reasons=reasons)


def test_a_run_ends_as_soon_as_success_on_all_that_is_left_would_be_too_late() -> None:
    limit = FailureLimit(0.25, before=[rate(0)], planned={"text/x": 400})
    limit.check({})
    limit.check({SILENT: 60, TIMEOUT: 40})
    with pytest.raises(RunError, match=r"101 of 400 utterances \(silent 61, timeout 40\)"):
        limit.check({SILENT: 61, TIMEOUT: 40})


def test_what_a_resumed_run_did_before_counts() -> None:
    limit = FailureLimit(0.25, before=[rate(200, silent=90)], planned={"text/x": 200})
    limit.check({SILENT: 10})
    with pytest.raises(RunError, match="101 of 400"):
        limit.check({SILENT: 11})


def test_few_rows_say_nothing() -> None:
    limit = FailureLimit(0.25, before=[rate(0)], planned={"text/x": 19})
    limit.check({SILENT: 19})


def test_texts_that_nobody_wrote_are_no_failures() -> None:
    nothing = ("text/x", "no_text")
    check_failures([rate(400, no_text=400)], 0.25)
    limit = FailureLimit(0.25, before=[rate(0)], planned={"text/x": 400})
    limit.check({nothing: 300, TIMEOUT: 25})
    with pytest.raises(RunError, match=r"26 of 100 utterances \(timeout 26\)"):
        limit.check({nothing: 300, TIMEOUT: 26})


class Lost:
    """A partition that ended in an error."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def add_done_callback(self, tell: Callable[[Any], None]) -> None:
        tell(self)

    def result(self, *, raise_on_failure: bool) -> Exception:
        return self._error


@pytest.mark.parametrize(("kinds", "tried"), [((OSError,), 2), ((OSError, TypeError), 12)])
def test_two_losses_of_one_cause_end_a_run(
    tmp_path: Path, kinds: tuple[type[Exception], ...], tried: int
) -> None:
    submitted: list[int] = []

    def submit(part: Any) -> Any:
        submitted.append(part)
        return Lost(kinds[part % len(kinds)](f"no disk {part}"))

    limit, monitor = FailureLimit(1.0, before=[], planned={}), Monitor({}, lambda _: None)
    parts: Any = range(12)
    with open_run(str(tmp_path / "store"), [Evil().spec], partition=4) as run:
        run_these = partial(run_partitions, run, parts, submit, monitor=monitor, limit=limit)
        with pytest.raises(RunError, match=f"^{tried} partitions failed "):
            run_these(width=lambda: 2)
    assert len(submitted) in (tried, tried + 1)  # the next one is on its way by then
