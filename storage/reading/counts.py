"""How many utterances an extractor has done, and which it has not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.storage.format import layout


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Utterances by the state of one extractor."""

    ok: int
    failed: int
    stale: int
    never: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FailedRow:
    """An utterance without a feature, and why."""

    id: str
    extractor: str
    reason: str
    message: str
    clip: str


def count(status: NDArray[Any], stale: NDArray[np.bool_]) -> Counts:
    """The rows by state, from their ``status`` and which results are stale, shapes (n_rows,)."""
    return Counts(
        ok=int(((status == layout.OK) & ~stale).sum()),
        failed=int(((status == layout.FAILED) & ~stale).sum()),
        stale=int(stale.sum()),
        never=int((status == layout.NEVER).sum()),
    )
