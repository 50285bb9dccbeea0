"""How many features of a run may fail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial

from meldflow.models.schema.errors import RunError
from meldflow.models.schema.media import Reason
from meldflow.storage.planning.plan import Plan
from meldflow.storage.writing.transaction import FailureRate, Run

MIN_TRIED = 20
"""Rows below which a failure rate says nothing."""


class FailureLimit:
    """Ends a run as soon as it is certain that it has to fail: half a night is not spent on it."""

    def __init__(
        self, limit: float, *, before: Iterable[FailureRate], planned: Mapping[str, int]
    ) -> None:
        """Sets the limit.

        Args:
            limit: largest share of failed rows among those that an extractor tries.
            before: what a resumed run has done already, besides the rows planned now.
            planned: extractor → rows to extract.
        """
        self._limit, self._planned = limit, dict(planned)
        self._before = tuple(before)

    @classmethod
    def of(cls, run: Run, plan: Plan, limit: float) -> FailureLimit:
        """For what ``run`` has done and what it is about to do."""
        return cls(limit, before=run.failure_rates(besides=plan), planned=plan.stale())

    def check(self, failures: Mapping[tuple[str, str], int]) -> None:
        """Refuses to go on where even success on every row that is left would be too late.

        Args:
            failures: extractor and reason → rows that failed since the run began or was resumed.

        Raises:
            RunError: see ``check_failures``.
        """
        check_failures(map(partial(self._at_best, failures), self._before), self._limit)

    def _at_best(self, failures: Mapping[tuple[str, str], int], before: FailureRate) -> FailureRate:
        own = {reason: n for (name, reason), n in failures.items() if name == before.extractor}
        reasons = Counter(before.reasons) + Counter(own)
        return FailureRate(
            extractor=before.extractor,
            tried=before.tried + self._planned.get(before.extractor, 0),
            failed=reasons.total(),
            reasons=dict(reasons.most_common()),
        )


def check_failures(rates: Iterable[FailureRate], limit: float) -> None:
    """Refuses a run in which something is wrong with more than single clips.

    An utterance without words, as all of a plain folder may be, is no failure to read them.

    Raises:
        RunError: an extractor failed on a larger share than ``limit`` of the rows it tried.
    """
    for rate in map(_of_what_was_there, rates):
        if rate.tried >= MIN_TRIED and rate.rate > limit:
            reasons = ", ".join(f"{reason} {n}" for reason, n in rate.reasons.items())
            raise RunError(
                f"{rate.extractor} failed on {rate.failed} of {rate.tried} utterances ({reasons}); "
                f"the limit is {limit:.0%}, so nothing was published. Mend the cause and run again "
                "with --retry-failed, or accept it with --max-failure-rate"
            )


def _of_what_was_there(rate: FailureRate) -> FailureRate:
    reasons = {reason: n for reason, n in rate.reasons.items() if reason != Reason.NO_TEXT}
    wordless = rate.reasons.get(Reason.NO_TEXT, 0)
    return replace(
        rate, tried=rate.tried - wordless, failed=rate.failed - wordless, reasons=reasons
    )
