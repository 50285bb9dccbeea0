from __future__ import annotations

import pytest

from meldflow.models.schema.errors import RunError
from meldflow.storage.writing.transaction import FailureRate
from meldflow.tasks.extraction.failures import FailureLimit, check_failures

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
