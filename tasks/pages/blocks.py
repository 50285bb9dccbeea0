"""What a section of the report is made of; the template draws each kind of block."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from meldflow.models.training.result import Spread


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One cell of a table."""

    text: str
    note: str = ""
    """Small print below the text."""
    share: float | None = None
    """Within [0, 1]: drawn as a bar, or as the strength of a heat cell."""
    strong: bool = False
    href: str = ""
    """Address that the text leads to, http or https."""

    def __post_init__(self) -> None:
        if self.href and not self.href.startswith(("https://", "http://")):
            raise ValueError(f"a cell may lead to http or https only, not to {self.href!r}")


Row: TypeAlias = tuple[Cell | str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A real table: the first cell of each row is its header."""

    kind: ClassVar[str] = "table"
    caption: str
    head: tuple[str, ...]
    rows: tuple[Row, ...]
    style: str = ""
    """"" (plain), ``heat`` (cells tinted by share), ``words`` (no column of numbers), ``tally``
    (numbers behind a first column with long small print), ``prose`` (cells of sentences) or
    ``cards`` (sentences too, but each row becomes a card where the page is narrow)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """Panels of one figure, shown next to each other where there is room."""

    kind: ClassVar[str] = "pictures"
    figure: str
    """A name among the document's figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A command line to copy."""

    kind: ClassVar[str] = "code"
    label: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    title: str
    facts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Folded:
    """Blocks behind a line to open."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: tuple[Table | Text | Code | Facts, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A line that leads to another page of the same report."""

    kind: ClassVar[str] = "link"
    text: str
    href: str
    """Relative address."""

    def __post_init__(self) -> None:
        if ":" in self.href or self.href.startswith("/"):
            raise ValueError(f"a link stays within the report, it may not lead to {self.href!r}")


Block: TypeAlias = Table | Pictures | Text | Code | Facts | Folded | Link


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A titled part of the report."""

    title: str
    lead: str = ""
    """One or two sentences: what is seen here and how to read it."""
    blocks: tuple[Block, ...] = field(default_factory=tuple)


DASH = "\u2013"
"""Stands for what is undefined."""
MODEL_NAMES = {"network": "Network", "svm": "SVM", "majority": "Majority baseline"}
"""Model → the name that people read; a model without one is shown as it is."""


def model_name(model: str) -> str:
    """The name of ``model`` for people."""
    return MODEL_NAMES.get(model, model)


def fraction(value: float | None) -> str:
    """Three decimals, or a dash for what is undefined."""
    return DASH if value is None else f"{value:.3f}"


def spread(value: Spread | None, digits: int = 3) -> str:
    """Mean ± standard deviation over the seeds, e.g. ``0.612 ± 0.004``; the mean alone for one."""
    if value is None:
        return DASH
    sd = "" if value.sd is None else f" ± {value.sd:.{digits}f}"
    return f"{value.mean:.{digits}f}{sd}"


def duration(seconds: float) -> str:
    """Seconds for people, e.g. ``0.4 s``, ``12 s``, ``3 min 5 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
