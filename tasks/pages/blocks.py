"""Tables of pages and artifacts, before anything draws them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias


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

    caption: str
    head: Sequence[str]
    rows: Sequence[Row]
    style: str = "plain"
    """``plain``, ``heat`` or another of those that ``grid`` in ``parts.html.j2`` knows."""
