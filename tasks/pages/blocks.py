"""What a section of a page is made of; the template draws each kind of block."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeAlias


@dataclass(frozen=True, slots=True)
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

    def __str__(self) -> str:
        """In a line, small print in brackets."""
        return f"{self.text} ({self.note})" if self.note else self.text


Row: TypeAlias = Sequence[Cell | str]
"""Its cells; the first of them heads it."""


@dataclass(frozen=True, slots=True)
class Table:
    """A real table."""

    kind: ClassVar[str] = "table"
    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    style: str = ""
    """"" (plain), ``heat`` (cells tinted by share), ``words`` (no column of numbers), ``tally``
    (numbers behind a first column with long small print), ``prose`` (cells of sentences) or
    ``cards`` (sentences too, but each row becomes a card where the page is narrow)."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """Panels of one figure, shown next to each other where there is room."""

    kind: ClassVar[str] = "pictures"
    figure: str
    """A name among the document's figures."""


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str


@dataclass(frozen=True, slots=True)
class Code:
    """A command line to copy."""

    kind: ClassVar[str] = "code"
    label: str
    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values."""

    kind: ClassVar[str] = "facts"
    title: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Folded:
    """Blocks behind a line to open."""

    kind: ClassVar[str] = "folded"
    summary: str
    blocks: Sequence[Table | Text | Code | Facts]


Block: TypeAlias = Table | Pictures | Text | Code | Facts | Folded


@dataclass(frozen=True, slots=True)
class Section:
    """A titled part of a page."""

    title: str
    lead: str = ""
    """One or two sentences: what is seen here and how to read it."""
    blocks: Sequence[Block] = ()
