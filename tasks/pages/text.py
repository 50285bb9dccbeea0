"""Numbers, times, names, tables as people read them: the same on every page and on the screen."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from meldflow.models.training.result import Spread

_UNITS = ((86_400, "day"), (3_600, "h"), (60, "min"), (1, "s"))

DASH = "\u2013"
"""Stands for what is undefined."""


def fraction(value: float | None) -> str:
    """Three decimals, or a dash for what is undefined."""
    return DASH if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """Three decimals with a sign, a true minus."""
    # Adding zero turns a rounded -0.0 into 0.0.
    return f"{round(value, 3) + 0.0:+.3f}".replace("-", "\u2212")


def spread(value: Spread | None, digits: int = 3) -> str:
    """Mean ± standard deviation over the seeds, e.g. ``0.612 ± 0.004``; the mean alone for one."""
    if value is None:
        return DASH
    sd = "" if value.sd is None else f" ± {value.sd:.{digits}f}"
    return f"{value.mean:.{digits}f}{sd}"


def counted(number: int, what: str) -> str:
    """``1 frame``, ``2,000 frames``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def exact_seconds(value: float) -> str:
    """A time with milliseconds, or a dash for what is not known."""
    return DASH if math.isnan(value) else f"{value:.3f} s"


def duration(seconds: float) -> str:
    """A time span to two units, e.g. ``0.4 s``, ``3 min 5 s``, ``2 h 10 min``, ``3 days 4 h``."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    rest = round(seconds)
    for (size, name), (smaller, unit) in itertools.pairwise(_UNITS):
        if rest >= size:
            number, part = divmod(rest // smaller, size // smaller)
            text = counted(number, name) if name == "day" else f"{number} {name}"
            return f"{text} {part} {unit}" if part else text
    return f"{rest} s"


def mebibytes(n_bytes: float, digits: int = 0) -> str:
    """Size for people, e.g. ``22 MiB``."""
    return f"{n_bytes / 2**20:.{digits}f} MiB"


def readable(name: str) -> str:
    """``name`` with what no screen can show, such as the end of a line, as an escape."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


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
