"""How many features of a run may fail."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace

from meldflow.models.schema.errors import RunError
from meldflow.models.schema.media import Reason
from meldflow.storage.writing.transaction import FailureRate

MIN_TRIED = 20
"""Rows below which a failure rate says nothing."""


class FailureLimit:
    """Ends a run as soon as it is certain that it has to fail: half a night is not spent on it."""

    def __init__(
        self, limit: float, before: Iterable[FailureRate], planned: Mapping[str, int]
    ) -> None:
        """Sets the limit.

        Args:
            limit: largest share of failed rows among those that an extractor tries.
            before: what a resumed run has done already, besides the rows planned now.
            planned: extractor → rows to extract.
        """
        self._limit = limit
        self._at_best = tuple(
            replace(one, tried=one.tried + planned.get(one.extractor, 0)) for one in before
        )

    def check(self, failures: Mapping[tuple[str, str], int]) -> None:
        """Refuses to go on where even success on every row that is left would be too late.

        Args:
            failures: extractor and reason → rows that failed since the run began or was resumed.

        Raises:
            RunError: see ``check_failures``.
        """
        for rate in self._at_best:
            reasons = Counter(rate.reasons)
            reasons.update({why: n for (who, why), n in failures.items() if who == rate.extractor})
            found = dict(reasons.most_common())
            check_failures([replace(rate, failed=reasons.total(), reasons=found)], self._limit)


def check_failures(rates: Iterable[FailureRate], limit: float) -> None:
    """Refuses a run in which something is wrong with more than single clips.

    An utterance without words, as all of a plain folder may be, is no failure to read them.

    Raises:
        RunError: an extractor failed on a larger share than ``limit`` of the rows it tried.
    """
    for rate in rates:
        reasons = Counter(rate.reasons)
        wordless = reasons.pop(Reason.NO_TEXT, 0)
        tried, failed = rate.tried - wordless, rate.failed - wordless
        if tried >= MIN_TRIED and failed / tried > limit:
            counts = ", ".join(f"{reason} {n}" for reason, n in reasons.items())
            raise RunError(
                f"{rate.extractor} failed on {failed} of {tried} utterances ({counts}); "
                f"the limit is {limit:.0%}, so nothing was published. Mend the cause and run again "
                "with --retry-failed, or accept it with --max-failure-rate"
            )
