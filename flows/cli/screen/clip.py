"""What `meldflow inspect` and `meldflow predict` show of a clip."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.bar import Bar
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from meldflow.flows.cli.screen.terminal import out
from meldflow.models.schema.media import Missing
from meldflow.tasks.inspection import rows
from meldflow.tasks.inspection.inspect import Inspection
from meldflow.tasks.pages.text import readable

if TYPE_CHECKING:
    from meldflow.tasks.training.predict.records import Prediction

BAR = 30
"""Width of a bar for certainty, in characters."""


def show_inspection(written: Sequence[Path], found: Inspection) -> None:
    """The facts, what came out of each modality, the chosen frames and the features."""
    out.print(f"[bold]{_safe(found.path)}[/]: {_safe(rows.title(found))}")
    for one in rows.cautions(found):
        out.print(f"[yellow]note:[/] {_safe(one)}")
    for part in _parts(found):
        out.print()
        out.print(part)
    for file in written:
        out.print(f"wrote {_safe(str(file))}")
    if not written:
        out.print("see its curves and frames with --html FILE or --png DIR")


def _parts(found: Inspection) -> Iterator[RenderableType]:
    for title, facts in rows.facts(found).items():
        yield _facts(title.lower(), facts) if facts else f"no {title.lower()}"
    if not isinstance(found.media.video, Missing):
        chosen = rows.chosen_rows(found.media.video)
        yield _table("chosen frames", rows.CHOSEN_HEAD, chosen)
    yield _table("features", rows.FEATURE_HEAD, rows.feature_rows(found))


def _facts(title: str, facts: Mapping[str, str]) -> Table:
    table = Table.grid("name", "value", padding=(0, 2))
    table.title, table.title_justify, table.title_style = title, "left", "bold"
    for name, value in facts.items():
        table.add_row(f"[dim]{name}[/]", _safe(value))
    return table


def _table(title: str, head: Sequence[str], cells: Sequence[Sequence[str]]) -> Table:
    table = Table(*head, title=title, title_justify="left", title_style="bold")
    for row in cells:
        table.add_row(*map(_safe, row))
    return table


def _safe(text: str) -> str:
    return escape(readable(text))


def show_prediction(found: Prediction) -> None:
    """The classes with their probabilities, the likeliest first, and what to know of them."""
    for note in found.notes:
        out.print(f"[yellow]note:[/] {_safe(note)}")
    others = [name for name in found.by if name != found.classifier]
    out.print(f"[bold]{escape(found.label)}[/], by the {found.classifier}")
    table = Table("class", "", *(found.classifier, *(f"[dim]{name}[/]" for name in others)))
    likely = sorted(found.probabilities.items(), key=lambda one: -one[1])
    for label, probability in likely:
        beside = (f"[dim]{found.by[name][label]:.3f}[/]" for name in others)
        bar = Bar(1.0, 0.0, probability, width=BAR)
        table.add_row(escape(label), bar, f"{probability:.3f}", *beside)
    out.print(table)
    out.print(f"model {escape(found.model)}")
