"""What the store costs: how its operations grow with the corpus, and two ways of reading it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.bench.stores import growth, reading


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCosts:
    """What the bench found."""

    growth: Sequence[growth.Cost]
    reading: reading.Reading

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "growth": [asdict(one) for one in self.growth],
            "reading": self.reading.to_json(),
        }


def measure(
    sizes: Sequence[int], say: Callable[[str], None], *, utterances: int, rounds: int
) -> StoreCosts:
    """Operations on stores of these sizes, then reading one of ``utterances``.

    Args:
        sizes: of the corpora, in utterances.
        say: told what is being done.
        utterances: of the store that is read, whose frames are as long as MELD's.
        rounds: how often every way of reading takes its turn.

    Raises:
        RunError: an operation failed.
    """
    return StoreCosts(
        growth=growth.measure(sizes, say), reading=reading.measure(utterances, rounds, say)
    )
