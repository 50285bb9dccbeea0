"""The precisions that a bench measures, and how ``meldflow extract`` is told of one."""

from __future__ import annotations

from collections.abc import Sequence

from meldflow.models.running.computing import cpu_precisions
from meldflow.models.schema.errors import UsageError

RANDOM = "random"
"""Random weights cost what trained ones do, and need no download."""

WEIGHTS_OF = {"text/minilm": "pretrained"}
"""Its weights come with a package."""


def precisions(asked: Sequence[str] = ()) -> tuple[str, ...]:
    """Those asked for, or fp32 and bf16, as far as this machine's processor computes in them.

    fp16 is measured where it is asked for: ``auto`` never chooses it.

    Raises:
        UsageError: it has none for one that was asked for.
    """
    known = cpu_precisions()
    for one in asked:
        if one not in known:
            raise UsageError(f"precision {one!r}: this processor computes in {', '.join(known)}")
    return tuple(dict.fromkeys(asked)) or tuple(one for one in known if one != "fp16")


def weights_arguments(weights: str = RANDOM) -> tuple[str, ...]:
    """What makes ``meldflow extract`` use these weights; by default nothing is downloaded."""
    given = (weights, *(f"{name}={one}" for name, one in WEIGHTS_OF.items()))
    return tuple(part for one in given for part in ("--weights", one))


def arguments(precision: str, weights: str = RANDOM) -> tuple[str, ...]:
    """What makes it compute in a precision as well."""
    return (*weights_arguments(weights), "--precision", precision)
