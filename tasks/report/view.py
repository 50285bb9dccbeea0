"""What a page of the training report is made from: a result, and those that lie beside it."""

from __future__ import annotations

from dataclasses import dataclass

from meldflow.models.training.result import TrainResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Other:
    """A result by another protocol, of the same snapshot and target."""

    result: TrainResult
    href: str
    """Its page, relative to the one that is made."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """What the sections of a page may show."""

    result: TrainResult
    others: tuple[Other, ...] = ()
