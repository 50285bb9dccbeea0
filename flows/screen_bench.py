"""What the benches show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from flows.app import out

if TYPE_CHECKING:
    from tasks.bench.orchestrate import Orchestration


def show_orchestration(found: Orchestration, *, as_json: bool) -> None:
    """CPU per utterance and peak memory, by process and size of the corpus."""
    if as_json:
        out.print_json(data=found.to_json())
        return
    table = Table("process", title="CPU ms per utterance beyond the fixed cost, peak MB")
    table.add_column("fixed", justify="right")
    for run in found.runs:
        table.add_column(f"{run.utterances:,}", justify="right")
    above = [run.above(found.fixed) for run in found.runs]
    for name, fixed in found.fixed.cpu_seconds.items():
        cells = (
            f"{one[name]:.3f} ms, {run.peak_mb[name]:.0f}"
            for run, one in zip(found.runs, above, strict=True)
        )
        table.add_row(name, f"{fixed:.1f} s", *cells)
    table.add_section()
    totals = (f"{sum(one.values()):.3f} ms" for one in above)
    table.add_row("together", f"{sum(found.fixed.cpu_seconds.values()):.1f} s", *totals)
    walls = (f"{run.seconds:.0f} + {run.settle_seconds:.0f} s" for run in found.runs)
    table.add_row("wall clock + settling", f"{found.fixed.seconds:.0f} s", *walls)
    out.print(table)
    runs = sum(run.partitions for run in found.runs)
    lost = sum(run.task_runs_lost for run in found.runs)
    out.print(f"{runs:,} task runs, {lost:,} of them not recorded by the server", highlight=False)
