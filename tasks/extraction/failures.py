"""Failures: which of them another try may mend, after how long, and how many a run may have."""

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import CancelledError
from dataclasses import replace

from distributed.scheduler import KilledWorker

from meldflow.models.schema.errors import MeldflowError, RunError
from meldflow.models.schema.media import Reason
from meldflow.storage.places.patience import FAULTS
from meldflow.storage.writing.transaction import FailureRate
from meldflow.tasks.extraction.hanging import HungError

RETRIES = 6
"""Tries after the first, 2, 4, 8, 16, 32 and 64 s apart, and up to half as much again: a store or
a network that is away for a minute costs no run."""

COSTLY = (KilledWorker, HungError, MemoryError)
"""What a batch ends in that has a clip too bad for a worker: it is encoded apart."""

PASSING = (CancelledError, *COSTLY, *FAULTS)
STAYING = (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError)

MIN_TRIED = 20
"""Rows below which a failure rate says nothing."""


def may_pass(error: BaseException) -> bool:
    """Whether it comes of a network, a disk or a worker that may be well again in a minute."""
    return isinstance(error, PASSING) and not isinstance(error, STAYING)


def retries(error: object) -> int:
    """How often a partition that ended in this is tried again.

    What we ourselves say is wrong, never. A mistake in a program, once: one worker may have it.
    """
    if isinstance(error, MeldflowError):
        return 0
    return RETRIES if isinstance(error, BaseException) and may_pass(error) else 1


def pause(number: int) -> float:
    """Seconds between try ``number``, the first is 1, and the next; not the same for everybody."""
    return 2.0**number * random.uniform(1.0, 1.5)


def cause(error: object) -> str:
    """An error in one line."""
    line = str(error).strip().partition("\n")[0]
    return line if isinstance(error, MeldflowError) else f"{type(error).__name__}: {line}"


def alike(one: str, other: str) -> bool:
    """Whether two causes are the same but for numbers in them."""
    return re.sub(r"\d+", "", one) == re.sub(r"\d+", "", other)


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
