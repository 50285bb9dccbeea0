"""Which rows a model is fitted on, chosen on and judged on, and a guard that keeps to it."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from meldflow.models.judging.records import Use
from meldflow.models.judging.table import FeatureTable
from meldflow.models.schema.errors import MeldflowError, UsageError

Rows = NDArray[np.intp]

Purpose: TypeAlias = Literal["fit", "fit_svm", "choose", "judge"]
"""What rows are used for: fields of a ``Protocol`` and of a ``Division``."""

LEAKY_SEED = 42
"""Of the published division of the training rows."""
LEAKY_SHARE = 0.2


class LeakError(MeldflowError):
    """Rows were used for something that the protocol forbids: a defect, never a setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The one part of the rows that each purpose may touch; a part is a name in ``PARTS``."""

    name: str
    description: str
    """One sentence for the report."""
    wrong: str = ""
    """What is wrong with it, in one or two sentences; "" for a sound one."""
    fit: str = "train"
    """Scalers and the network."""
    fit_svm: str = "train"
    choose: str = "dev"
    """Epoch, temperature and the SVM's settings; "" where nothing is chosen."""
    judge: str = "test"
    beside: tuple[str, ...] = ()
    """Parts that the same models are judged on besides, for comparison."""
    network: str = "fusion"
    """The network that it is about where nobody names one."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the network that differ from its own, by name."""


def _split(name: str) -> Callable[[NDArray[Any]], Rows]:
    return lambda split: np.flatnonzero(split == name)


def _train_half(part: int) -> Callable[[NDArray[Any]], Rows]:
    """A side of the published division of the training rows, drawn by scikit-learn."""

    def rows(split: NDArray[Any]) -> Rows:
        from sklearn.model_selection import train_test_split  # a second, for a command's options

        train = np.flatnonzero(split == "train")
        if len(train) < 2:
            return train[:0]
        sides = train_test_split(train, test_size=LEAKY_SHARE, random_state=LEAKY_SEED)
        return np.sort(sides[part])

    return rows


PARTS: Mapping[str, Callable[[NDArray[Any]], Rows]] = {
    "train": _split("train"),
    "dev": _split("dev"),
    "test": _split("test"),
    "train-80": _train_half(0),
    "train-20": _train_half(1),
}
"""Name of a part → its rows, ascending, from the split of every row."""

PROTOCOLS: Mapping[str, Protocol] = {
    "official": Protocol(
        name="official",
        description=(
            "Everything is fitted on the train split, every choice is made on dev, "
            "and test is predicted once, at the end."
        ),
    ),
    "leaky-80-20": Protocol(
        name="leaky-80-20",
        description=(
            "As published for the reference network: the network is fitted on all training "
            "rows; what it makes of them is divided 80 to 20 with seed 42, for the SVM to be "
            "fitted on and judged on."
        ),
        wrong=(
            "This is no result. The network was fitted on the very utterances that it is judged "
            "on here, with their labels: the score tells how well it learned them by heart, and "
            "nothing about utterances that it has not seen."
        ),
        fit_svm="train-80",
        choose="",
        judge="train-20",
        beside=("test",),
        network="reference",
        # Nothing says when to stop: on MELD's texts the loss has come to rest after 12 epochs.
        settings={"epochs": 15, "dropout": 0.0, "svm_c": (1.0,), "svm_gamma": (1.0,)},
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
    uses: dict[str, list[Use]] = field(default_factory=lambda: defaultdict(list))
    """``fit``, ``choose`` or ``judge`` → what was entered, in order."""

    def enter(self, purpose: Purpose, name: str, rows: Rows) -> Rows:
        """``rows``, entered as those that ``name`` is fitted, chosen or judged on.

        Raises:
            LeakError: a row lies outside the parts that the protocol has for that purpose, or
                ``name`` was judged on the part before.
        """
        verb = purpose.partition("_")[0]
        beside = self.protocol.beside if verb == "judge" else ()
        parts = [part for part in (getattr(self.protocol, purpose), *beside) if part]
        for part in parts:
            if np.isin(rows, PARTS[part](self.split)).all():
                before = {(use.object, use.split) for use in self.uses[verb]}
                if verb == "judge" and (name, part) in before:
                    raise LeakError(f"{name} was judged on {part} already; once is the rule")
                self.uses[verb].append(Use(object=name, split=part, rows=len(rows)))
                return rows
        given = ", ".join(sorted(set(self.split[rows].tolist())))
        allowed = f"may {verb} on {' or '.join(parts)} rows only" if parts else "chooses nothing"
        raise LeakError(
            f"protocol {self.protocol.name}: {name} {allowed}, got rows of {given} beyond"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """The rows of a table by purpose, and their labels."""

    fit: Rows
    fit_svm: Rows
    choose: Rows
    """Empty where the protocol chooses nothing."""
    judge: Rows
    beside: Mapping[str, Rows] = field(default_factory=dict)
    """Part → its rows; parts without rows are not here."""
    labels: Rows
    """Position in ``classes`` of every row of the table, shape (n,)."""
    classes: tuple[str, ...]


def divide(table: FeatureTable, protocol: Protocol) -> Division:
    """The rows that ``protocol`` fits, chooses and judges on.

    Raises:
        UsageError: a part is empty, a label is unknown, the rows to fit on hold fewer than two
            classes, or none of them has any feature.
    """
    rows: dict[str, Rows] = {}
    for purpose in get_args(Purpose):
        part = getattr(protocol, purpose)
        rows[purpose] = PARTS[part](table.split) if part else np.empty(0, np.intp)
        if part and not len(rows[purpose]):
            raise UsageError(
                f"snapshot {table.snapshot} has no {part} rows; protocol {protocol.name} needs "
                f"them to {purpose.partition('_')[0]}"
            )
    labels = _labels(table)
    for purpose in ("fit", "fit_svm"):
        seen = set(labels[rows[purpose]].tolist())
        if len(seen) < 2:
            part, only = getattr(protocol, purpose), table.target.classes[seen.pop()]
            raise UsageError(
                f"all {part} rows are {only}; a classifier needs two {table.target.name}s"
            )
    if not any(table.present_modality(m)[rows["fit"]].any() for m in table.arrays):
        raise UsageError(f"no {protocol.fit} row of snapshot {table.snapshot} has any feature")
    beside = {part: PARTS[part](table.split) for part in protocol.beside}
    return Division(
        **rows,
        beside={part: some for part, some in beside.items() if len(some)},
        labels=labels,
        classes=table.target.classes,
    )


def _labels(table: FeatureTable) -> Rows:
    target = table.target
    unknown = sorted(set(table.label.tolist()) - set(target.classes))
    if unknown:
        known = ", ".join(target.classes)
        raise UsageError(f"unknown {target.name} {unknown[0]!r}; MELD has: {known}")
    number = {label: i for i, label in enumerate(target.classes)}
    return np.array([number[label] for label in table.label.tolist()], dtype=np.intp)
