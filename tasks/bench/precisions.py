"""The precisions that a bench measures, and how ``meldflow extract`` is told of one."""

from __future__ import annotations

from collections.abc import Sequence

from models.computing import cpu_precisions
from models.schema import UsageError

RANDOM = "random"
"""Random weights cost what trained ones do, and need no download."""

WEIGHTS_OF = {"text/minilm": "pretrained"}
"""Its weights come with a package."""


def precisions(asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Those asked for, or all that this machine's processor has instructions for.

    Raises:
        UsageError: it has none for one that was asked for.
    """
    known = cpu_precisions()
    for one in asked:
        if one not in known:
            raise UsageError(f"precision {one!r}: this processor computes in {', '.join(known)}")
    return tuple(dict.fromkeys(asked)) or known


def arguments(precision: str, weights: str = RANDOM) -> tuple[str, ...]:
    """What makes ``meldflow extract`` compute in it; by default nothing has to be downloaded."""
    given = (weights, *(f"{name}={one}" for name, one in WEIGHTS_OF.items()))
    return (*(part for one in given for part in ("--weights", one)), "--precision", precision)
