"""What `meldflow predict` shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.markup import escape
from rich.table import Table

from meldflow.flows.cli.screen.terminal import out
from meldflow.tasks.pages.text import readable

if TYPE_CHECKING:
    from meldflow.tasks.training.predict.records import Prediction

BAR = 30
"""Width of a bar for certainty, in characters."""


def show_prediction(found: Prediction) -> None:
    """The classes with their probabilities, the likeliest first, and what to know of them."""
    for note in found.notes:
        out.print(f"[yellow]note:[/] {escape(readable(note))}")
    others = [name for name in found.by if name != found.classifier]
    words = f"[bold]{escape(found.label)}[/], by the {found.classifier}"
    out.print(words)
    table = Table("class", "", *(found.classifier, *(f"[dim]{name}[/]" for name in others)))
    likely = sorted(found.probabilities.items(), key=lambda one: -one[1])
    for label, probability in likely:
        beside = (f"[dim]{found.by[name][label]:.3f}[/]" for name in others)
        bar = Bar(1.0, 0.0, probability, width=BAR)
        table.add_row(escape(label), bar, f"{probability:.3f}", *beside)
    out.print(table)
    out.print(f"model {escape(found.model)}")
