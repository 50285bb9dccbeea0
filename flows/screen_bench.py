"""What the benches show."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from rich.table import Table

from flows.app import out

if TYPE_CHECKING:
    from models.bench.pitch import Agreement
    from tasks.bench.extract import Comparison, Side
    from tasks.bench.fidelity import Fidelity
    from tasks.bench.limit import Against, Floor, Limit
    from tasks.bench.orchestrate import Orchestration
    from tasks.bench.scale import Scaling
    from tasks.bench.stages import Measured
    from tasks.bench.store import StoreCosts
    from tasks.bench.training import Training


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


def show_stages(found: Measured, *, as_json: bool) -> None:
    """CPU per clip by stage and precision, and the share of what is neither of the first two."""
    from tasks.bench.stages import PARTS, REST, rest, share

    if as_json:
        out.print_json(data=found.to_json())
        return
    table = Table("stage", title=f"CPU ms per clip, {found.clips} clips")
    for run in found.runs:
        table.add_column(run.precision, justify="right")
        table.add_column("fixed", justify="right")
    columns = [(run.per_clip, run.fixed) for run in found.runs]
    for part in PARTS:
        if part == next(iter(REST)):
            table.add_section()
        cells = ((f"{steady[part]:.1f}", f"{fixed[part]:.1f} s") for steady, fixed in columns)
        table.add_row(part, *(cell for pair in cells for cell in pair))
    table.add_section()
    for name, of in (("together", _total), ("orchestration and storage", rest)):
        cells = ((f"{of(steady):.1f}", f"{of(fixed):.1f} s") for steady, fixed in columns)
        table.add_row(name, *(cell for pair in cells for cell in pair))
    out.print(table)
    for run in found.runs:
        steady, all_of_it = share(run.per_clip), share(run.at_meld)
        out.print(
            f"{run.precision}: orchestration and storage are {steady:.1%} of the CPU of a clip, "
            f"{all_of_it:.1%} with this run's fixed cost spread over MELD",
            highlight=False,
        )


def show_limit(found: Limit, *, as_json: bool) -> None:
    """Kernels and their rates, then ours against the floor by part and precision."""
    if as_json:
        out.print_json(data=found.to_json())
        return
    out.print(_rates(found.floor))
    if not any(rate.library == "OpenVINO" for rate in found.floor.rates):
        out.print("OpenVINO is not installed: these are torch's kernels alone")
    for one in found.against:
        out.print(_against(one))
        out.print(
            f"{one.precision}: {sum(one.ours.values()) / 1000:.3f} core-seconds per clip, "
            f"{one.multiple:.2f} times the floor of {sum(one.floor.values()) / 1000:.3f}",
            highlight=False,
        )


def _rates(floor: Floor) -> Table:
    table = Table("library", "kernel", "precision", title="Rates of kernels on one thread")
    table.add_column("GFLOP/s", justify="right")
    for rate in sorted(floor.rates, key=lambda rate: -rate.gflop_per_second):
        speed = f"{rate.gflop_per_second:,.1f}"
        table.add_row(rate.library, rate.kernel, rate.precision, speed)
    return table


def _against(one: Against) -> Table:
    table = Table("part", title=f"{one.precision}: CPU ms per clip")
    for name in ("ours", "floor", "multiple"):
        table.add_column(name, justify="right")
    for part, multiple in one.multiples.items():
        floor = f"{one.floor[part]:.1f}" if part in one.floor else ""
        times = f"{multiple:.2f}" if multiple else ""
        table.add_row(part, f"{one.ours[part]:.1f}", floor, times)
    table.add_section()
    ours, floor = (f"{sum(parts.values()):.1f}" for parts in (one.ours, one.floor))
    table.add_row("together", ours, floor, f"{one.multiple:.2f}")
    return table


def _total(parts: Mapping[str, float]) -> float:
    return sum(parts.values())


def show_comparison(found: Comparison, *, as_json: bool) -> None:
    """Both sides' speed and costs, and the ratio by precision."""
    from models.computing import cpu_precisions
    from tasks.bench.extract import spread

    if as_json:
        out.print_json(data=found.to_json())
        return
    table = Table("", title=f"{found.clips} clips of {found.clip_seconds:.1f} s on average")
    for name in ("clips/s", "CPU s per clip", "peak MB", "of a worker", "cold start s"):
        table.add_column(name, justify="right")
    table.add_row("usual script", *_side(found.usual))
    for name, side in found.meldflow.items():
        table.add_row(f"meldflow, {name}", *_side(side))
    out.print(table)
    for name in found.meldflow:
        ratio = spread(found.ratios(name))
        out.print(
            f"{name}: {ratio['median']:.2f} times as fast as the usual script "
            f"({ratio['min']:.2f} to {ratio['max']:.2f})",
            highlight=False,
        )
    if "bf16" not in cpu_precisions():
        out.print("bf16 was not measured: this processor has no instructions for it")


def _side(side: Side) -> tuple[str, ...]:
    told = side.to_json()
    speed = told["clips_per_second"]
    return (
        f"{speed['median']:.3f} ({speed['min']:.3f} to {speed['max']:.3f})",
        f"{told['cpu_seconds_per_clip']:.2f}",
        f"{told['peak_mb']:,.0f}",
        f"{told['worker_mb']:,.0f}",
        f"{told['cold_seconds']:.1f}",
    )


def show_scaling(found: Scaling, *, as_json: bool) -> None:
    """Clips per second against workers: real ones, and simulated ones with what they cost."""
    if as_json:
        out.print_json(data=found.to_json())
        return
    if found.factor is not None:
        out.print(_real_workers(found))
        out.print(f"two workers are {found.factor:.2f} times as fast as one", highlight=False)
    out.print(_simulated_workers(found))
    out.print(
        f"efficiency of 90 % or more up to {found.linear_until} simulated workers",
        highlight=False,
    )


def _real_workers(found: Scaling) -> Table:
    table = Table("workers", title="Real extraction, the same clips in turns")
    for heading in ("clips/s", "s, by round", "worker's s per clip", "rows failed"):
        table.add_column(heading, justify="right")
    for one in found.real:
        rounds = ", ".join(f"{seconds:.1f}" for seconds in one.seconds)
        per_clip = f"{sum(one.stage_seconds.values()):.3f}"
        rate = f"{one.clips_per_second:.3f}"
        table.add_row(str(one.workers), rate, rounds, per_clip, str(one.failed))
    return table


def _simulated_workers(found: Scaling) -> Table:
    title = f"Simulated: {found.clip_seconds:.3f} s of sleep per clip; cores taken meanwhile"
    kinds = ("flow", "server", "scheduler", "workers")
    table = Table("workers", title=title)
    for heading in ("clips", "clips/s", "efficiency", "with tail", *kinds):
        table.add_column(heading, justify="right")
    for one in found.simulated:
        table.add_row(
            f"{one.workers:,}",
            f"{one.clips:,}",
            f"{one.clips_per_second:.2f}",
            f"{one.efficiency:.1%}",
            f"{one.busy_efficiency:.1%}",
            *(f"{one.cores[kind]:.2f}" for kind in kinds),
        )
    return table


def show_fidelity(found: Fidelity, *, as_json: bool) -> None:
    """How far methods for pitch agree, what they cost, and how far the networks' features move."""
    if as_json:
        out.print_json(data=found.to_json())
        return
    out.print(_pitch(found))
    if found.networks:
        out.print(_networks(found))
    for one in found.networks:
        if one.refusal:
            line = f"{one.extractor} by {one.backend} {one.precision} does not run: {one.refusal}"
            out.print(line, highlight=False, markup=False)


def _networks(found: Fidelity) -> Table:
    title = f"Cosine with torch in fp32, by row; weights: {found.weights}"
    table = Table("network", "computed by", "rows of", title=title)
    headings = ("rows", "lowest", "1 %", "median", "other rows", "largest difference")
    for heading in headings:
        table.add_column(heading, justify="right")
    for one in found.networks:
        for deviation in one.deviations:
            cosines = (deviation.lowest, deviation.percentile, deviation.median)
            table.add_row(
                one.extractor,
                f"{one.backend} {one.precision}",
                deviation.array,
                f"{deviation.rows:,}",
                *(f"{cosine:.6f}" for cosine in cosines),
                f"{deviation.chance:.4f}",
                f"{deviation.largest:.2g}",
            )
    return table


def _pitch(found: Fidelity) -> Table:
    title = "Pitch: voicing alike, voiced frames missed and invented; where both are voiced: "
    title += "within 50 cents, median cents, more than 20 % off"
    table = Table("sound", "", title=title)
    headings = ("voicing", "missed", "invented", "close", "cents", "gross", "CPU ms/s")
    for heading in headings:
        table.add_column(heading, justify="right")
    for one in found.pitch:
        name = one.name
        for method, agreed in one.against_truth.items():
            cost = f"{one.cpu_ms[method]:.1f}"
            table.add_row(name, f"{method} / truth", *_agreement(agreed), cost)
            name = ""
        costs = " / ".join(f"{ms:.1f}" for ms in one.cpu_ms.values())
        table.add_row(
            name, " / ".join(one.cpu_ms), *_agreement(one.between), "" if not name else costs
        )
    return table


def _agreement(found: Agreement) -> Iterator[str]:
    for share in (found.voicing, found.missed, found.invented, found.close):
        yield _share(share)
    yield "" if math.isnan(found.cents) else f"{found.cents:.1f}"
    yield _share(found.gross)


def _share(share: float) -> str:
    return "" if math.isnan(share) else f"{share:.1%}"


def show_store(found: StoreCosts, *, as_json: bool) -> None:
    """Operations by size of the corpus, then the ways of reading."""
    if as_json:
        out.print_json(data=found.to_json())
        return
    sizes = list(dict.fromkeys(one.utterances for one in found.growth))
    table = Table("operation", title="seconds, peak MB")
    for size in sizes:
        table.add_column(f"{size:,}", justify="right")
    by = {(one.operation, one.utterances): one for one in found.growth}
    for operation in dict.fromkeys(one.operation for one in found.growth):
        cells = (by[operation, size] for size in sizes)
        table.add_row(operation, *(f"{one.seconds:.2f} s, {one.peak_mb:.0f}" for one in cells))
    out.print(table)
    table = Table("way", title=f"reading {found.reading.utterances:,} utterances, median round")
    for name in ("CPU s", "MB/s", "times the CPU of partitions"):
        table.add_column(name, justify="right")
    ratios = found.reading.ratios
    for way, rounds in found.reading.rounds.items():
        cpu = statistics.median(one.cpu_seconds for one in rounds)
        speed = statistics.median(one.megabytes_per_second for one in rounds)
        times = f"{ratios[way]:.2f}" if way in ratios else ""
        table.add_row(way, f"{cpu:.2f}", f"{speed:.0f}", times)
    out.print(table)


def show_train(found: Training, *, as_json: bool) -> None:
    """Seconds by stage, CPU and memory of each network's training."""
    if as_json:
        out.print_json(data=found.to_json())
        return
    table = Table("", title=f"Training on {found.utterances:,} utterances")
    for cost in found.costs:
        table.add_column(cost.network, justify="right")
    for stage in found.costs[0].stages:
        table.add_row(f"{stage}, s", *(f"{one.stages[stage]:.1f}" for one in found.costs))
    rows = {
        "reading, s": lambda one: f"{one.read_seconds:.1f}",
        "together, s": lambda one: f"{one.seconds:.1f}",
        "CPU s": lambda one: f"{one.cpu_seconds:.1f}",
        "peak MB": lambda one: f"{one.peak_mb:.0f}",
        "epochs": lambda one: str(one.epochs),
    }
    for name, cell in rows.items():
        table.add_row(name, *map(cell, found.costs))
    out.print(table)
