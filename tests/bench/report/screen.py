"""What the benches show: their JSON, or how to read it and its figures as tables."""

from __future__ import annotations

import sys
from typing import Any

from rich.table import Table

from meldflow.flows.cli.screen.terminal import out
from tests.bench.report.sections import SECTIONS
from tests.bench.report.tables import tables
from tests.bench.running.machine import circumstances


def show(name: str, found: dict[str, Any], *, as_json: bool) -> None:
    """How to read a bench's figures, then the figures.

    Args:
        name: of the bench.
        found: what it prints as JSON.
        as_json: print that, with where and when it was measured.
    """
    if as_json:
        out.print_json(data=found | {"measured": circumstances(sys.argv[1:])})
        return
    section = next(one for one in SECTIONS if one.name == name)
    out.print(section.about, style="dim", highlight=False, markup=False)
    for one in tables(found, section.figures):
        shown = Table(one.head[0])
        for column in one.head[1:]:
            shown.add_column(column, justify="right", overflow="fold")
        for row in one.rows:
            shown.add_row(*row)
        out.print(shown, highlight=False, markup=False)
