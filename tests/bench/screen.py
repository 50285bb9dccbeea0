"""What the benches show: what ``docs/performance.md`` has of them, as tables on the screen."""

from __future__ import annotations

import sys
from typing import Any, Literal

from rich.table import Table

from meldflow.flows.cli.app import out
from tests.bench.machine import circumstances
from tests.bench.sections import SECTIONS, Block


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
    for block in section.blocks(found):
        out.print(_shown(block), highlight=False, markup=False)


def _shown(block: Block) -> Table | str:
    if isinstance(block, str):
        return block
    table = Table()
    for number, name in enumerate(block.head):
        justify: Literal["left", "right"] = "left" if number < block.names else "right"
        table.add_column(name, justify=justify, overflow="fold")
    for row in block.rows:
        table.add_row(*row)
    return table
