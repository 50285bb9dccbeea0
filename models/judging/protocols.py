"""Which rows a model is fitted on, chosen on and judged on, and a guard that keeps to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.judging.records import Use
from models.schema import EMOTIONS, MeldflowError, UsageError
from models.table import FeatureTable


class LeakError(MeldflowError):
    """Rows were used for something that the protocol forbids: a defect, never a setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The one split that each purpose may touch."""

    name: str
    description: str
    """One sentence for the report."""
    fit: str = "train"
    choose: str = "dev"
    judge: str = "test"


PROTOCOLS: Mapping[str, Protocol] = {
    "official": Protocol(
        name="official",
        description=(
            "Everything is fitted on the train split, every choice is made on dev, "
            "and test is predicted once, at the end."
        ),
    ),
}


def protocol_named(name: str) -> Protocol:
    """The protocol called ``name``.

    Raises:
        UsageError: there is no such protocol.
    """
    if name not in PROTOCOLS:
        raise UsageError(f"unknown protocol {name!r}; there is: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


@dataclass(slots=True, kw_only=True)
class Ledger:
    """Hands rows out for a purpose, refuses those the protocol forbids, records the rest."""

    protocol: Protocol
    split: NDArray[Any]
    """Split of every row of the table, shape (n,)."""
    fitted: list[Use] = field(default_factory=list)
    chosen: list[Use] = field(default_factory=list)
    judged: list[Use] = field(default_factory=list)

    def fit(self, name: str, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """``rows``, entered as those that ``name`` is fitted on.

        Raises:
            LeakError: a row lies outside the split that the protocol fits on.
        """
        return self._enter("fit", self.fitted, name, rows)

    def choose(self, name: str, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """``rows``, entered as those that ``name`` is chosen on.

        Raises:
            LeakError: a row lies outside the split that the protocol chooses on.
        """
        return self._enter("choose", self.chosen, name, rows)

    def judge(self, name: str, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """``rows``, entered as those that ``name`` is judged on.

        Raises:
            LeakError: a row lies outside the split that the protocol judges on, or ``name``
                was judged before.
        """
        if any(use.object == name for use in self.judged):
            raise LeakError(f"{name} was judged on {self.protocol.judge} already; once is the rule")
        return self._enter("judge", self.judged, name, rows)

    def _enter(
        self, purpose: str, uses: list[Use], name: str, rows: NDArray[np.intp]
    ) -> NDArray[np.intp]:
        allowed = getattr(self.protocol, purpose)
        strangers = sorted(set(self.split[rows].tolist()) - {allowed})
        if strangers:
            raise LeakError(
                f"protocol {self.protocol.name}: {name} may {purpose} on {allowed} rows only, "
                f"got rows of {', '.join(strangers)}"
            )
        uses.append(Use(object=name, split=allowed, rows=len(rows)))
        return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The rows of a table by purpose, and their labels."""

    fit: NDArray[np.intp]
    choose: NDArray[np.intp]
    judge: NDArray[np.intp]
    labels: NDArray[np.intp]
    """Position in ``EMOTIONS`` of every row of the table, shape (n,)."""


def divide(table: FeatureTable, protocol: Protocol) -> Division:
    """The rows that ``protocol`` fits, chooses and judges on.

    Raises:
        UsageError: a split is empty, an emotion is unknown, train holds fewer than two
            emotions, or no train row has any feature.
    """
    rows = {p: table.rows(getattr(protocol, p)) for p in ("fit", "choose", "judge")}
    for purpose, wanted in rows.items():
        if not len(wanted):
            raise UsageError(
                f"snapshot {table.snapshot} has no {getattr(protocol, purpose)} rows; protocol "
                f"{protocol.name} needs them to {purpose}"
            )
    unknown = sorted(set(table.emotion.tolist()) - set(EMOTIONS))
    if unknown:
        raise UsageError(f"unknown emotion {unknown[0]!r}; MELD has: {', '.join(EMOTIONS)}")
    number = {emotion: i for i, emotion in enumerate(EMOTIONS)}
    labels = np.array([number[emotion] for emotion in table.emotion.tolist()], dtype=np.intp)
    if len(set(labels[rows["fit"]].tolist())) < 2:
        only = EMOTIONS[labels[rows["fit"][0]]]
        raise UsageError(f"all {protocol.fit} rows are {only}; a classifier needs two emotions")
    if not any(table.present_modality(m)[rows["fit"]].any() for m in table.arrays):
        raise UsageError(f"no {protocol.fit} row of snapshot {table.snapshot} has any feature")
    return Division(**rows, labels=labels)
