"""What each bench found, as tables and sentences: for the screen and for ``docs/performance.md``.

A section is a function from the JSON that a bench prints to blocks, and a row of ``SECTIONS``.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Found: TypeAlias = Any
"""What ``json.loads`` gives of a bench's output."""


@dataclass(frozen=True, slots=True)
class Figures:
    """A table: columns of names, then columns of numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1
    """How many columns are names."""


Block: TypeAlias = Figures | str
"""A table, or a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """What is shown of a bench."""

    name: str
    """Its JSON is ``NAME.json``."""
    title: str
    command: tuple[str, ...]
    """What prints that JSON, ``meldflow …`` or ``python …``."""
    about: str
    """How to read the figures."""
    blocks: Callable[[Found], Iterator[Block]]
    within: str = ""
    """A bench that measures this as well, and prints it under this name; it is run instead."""

    @property
    def line(self) -> str:
        """The command as one types it."""
        return " ".join(self.command)


def extract(found: Found) -> Iterator[Block]:
    """How much faster than the usual scripts, and the costs of both."""
    ratios = {name: ratio for name, ratio in found["ratio"].items() if ratio is not None}
    rows = [
        (name, *(f"{ratio[key]:.2f}" for key in ("median", "min", "max")))
        for name, ratio in ratios.items()
    ]
    yield Figures(("precision", "times as fast as the usual scripts", "from", "to"), rows)
    lacking = [name for name in found["ratio"] if name not in ratios]
    if lacking:
        yield (
            f"Not measured: {', '.join(lacking)}. It was not asked for, or the processor has no "
            "instructions for it."
        )
    ways = {"usual scripts": found["usual"]}
    ways |= {
        f"meldflow, {one['precision']} by {one['backend']}": one
        for one in found["meldflow"].values()
        if one
    }
    head = ("", "clips/s", "from", "to", "CPU s per clip", "peak MB", "of a worker")
    rows = [(name, *_side(one)) for name, one in ways.items()]
    yield Figures((*head, "and while loading", "cold start s"), rows)
    steps = found["usual"].get("steps")
    if steps:
        each = [(name, f"{seconds:.4f}") for name, seconds in steps.items()]
        yield Figures(("step of the usual scripts", "s per clip"), each)
    yield (
        f"{found['clips']} clips of {found['clip_seconds']:.1f} s on average, {found['workers']} "
        "workers of one thread each."
    )


def _side(one: Found) -> Iterator[str]:
    for key in ("median", "min", "max"):
        yield f"{one['clips_per_second'][key]:.3f}"
    yield f"{one['cpu_seconds_per_clip']:.3f}"
    yield f"{one['peak_mb']:,.0f}"
    yield f"{one['worker_mb']:,.0f}"
    yield f"{one['loading_mb']:,.0f}"
    yield f"{one['cold_seconds']:.1f}"


def stages(found: Found) -> Iterator[Block]:
    """CPU per clip and part, by precision, with the share of orchestration and storage."""
    runs = found["precisions"]
    head = ["CPU ms per clip"]
    for name in runs:
        head += [name, f"{name}, all of MELD"]
    both = [one for run in runs.values() for one in (run, run["at_meld"])]
    columns = [one["cpu_ms_per_clip"] for one in both]
    rows = [(part, *(f"{one[part]:.1f}" for one in columns)) for part in columns[0]]
    rows.append(("together", *(f"{one['total_ms']:.1f}" for one in both)))
    rows.append(("orchestration and storage", *(f"{one['rest_ms']:.1f}" for one in both)))
    rows.append(("their share", *(f"{one['rest_share']:.1%}" for one in both)))
    yield Figures(head, rows)
    yield (
        f"{found['clips']} distinct clips of {found['clip_seconds']:.1f} s on average, in "
        f"partitions of {found['partition']}."
    )


def limit(found: Found) -> Iterator[Block]:
    """Ours against the floor, and the rates that the floor rests on."""
    for name, one in found["precisions"].items():
        best = one["best"]
        yield (
            f"{name}: {one['ours_ms'] / 1000:.3f} core-seconds per clip, {one['multiple']:.2f} "
            f"times the floor of {one['floor_ms'] / 1000:.3f}. The fastest kernel is "
            f"{best['library']}'s {best['kernel']}: {best['gflop_per_second']:,.0f} GFLOP/s."
        )
        total = (f"{one['ours_ms']:.1f}", f"{one['floor_ms']:.1f}", f"{one['multiple']:.2f}")
        rows = [(part, *_multiple(of)) for part, of in one["parts"].items()]
        head = (f"{name}: CPU ms per clip", "ours", "floor", "multiple")
        yield Figures(head, [*rows, ("together", *total)])
    gflop = ", ".join(f"{name} {one:.1f}" for name, one in found["gflop"].items())
    yield (
        f"Operations per clip, GFLOP: {gflop}. ResNet-50 on one picture is counted as "
        f"{found['resnet50_gmac_per_picture']:.2f} GMAC; "
        f"{found['published_gmac_per_picture']:.2f} is published."
    )
    rates = sorted(found["rates"], key=lambda rate: -float(rate["gflop_per_second"]))
    rows = [
        (rate["library"], rate["kernel"], rate["precision"], f"{rate['gflop_per_second']:,.0f}")
        for rate in rates
    ]
    yield Figures(("library", "kernel", "precision", "GFLOP/s"), rows, names=3)
    if not any(rate["library"] == "OpenVINO" for rate in rates):
        yield "OpenVINO is not installed: these are torch's kernels alone."


def _multiple(of: Found) -> tuple[str, str, str]:
    ours = f"{of['ours_ms']:.1f}"
    if of["multiple"] is None:
        return ours, "", ""
    return ours, f"{of['floor_ms']:.1f}", f"{of['multiple']:.2f}"


def scale(found: Found) -> Iterator[Block]:
    """One and two workers for real, hundreds simulated."""
    if found["real"]:
        real = [
            (
                f"{one['workers']}",
                f"{one['clips']:,}",
                f"{one['clips_per_second']:.3f}",
                ", ".join(f"{seconds:.1f}" for seconds in one["seconds"]),
                f"{sum(one['stage_seconds'].values()):.3f}",
            )
            for one in found["real"]
        ]
        head = ("workers", "clips", "clips/s", "s, by round", "worker's s per clip")
        yield Figures(head, real, names=0)
        yield f"Two workers are {found['factor']:.2f} times as fast as one."
        if found["factor"] > 2:
            yield (
                "More than twice is no merit of two workers: one alone takes longer for each of "
                "its clips here, as the last column shows."
            )
    kinds = list(found["simulated"][0]["cores"])
    simulated = [
        (
            f"{one['workers']:,}",
            f"{one['clips']:,}",
            f"{one['clips_per_second']:.1f}",
            f"{one['efficiency']:.1%}",
            f"{one['busy_efficiency']:.1%}",
            *(f"{one['cores'][kind]:.2f}" for kind in kinds),
        )
        for one in found["simulated"]
    ]
    head = ("simulated workers", "clips", "clips/s", "efficiency", "with the end")
    yield Figures((*head, *(f"cores: {kind}" for kind in kinds)), simulated, names=0)
    yield (
        f"A simulated clip takes {found['clip_seconds']:.2f} s of a worker. Growth stays linear "
        f"(efficiency of 90 % or more) up to {found['linear_until']:,} workers."
    )


def fidelity(found: Found) -> Iterator[Block]:
    """What precisions, backends and the fast pitch change."""
    rows = [row for one in found["networks"] for row in _deviations(one)]
    if rows:
        head = ("network", "computed by", "rows of", "rows", "lowest cosine", "1 %", "median")
        yield Figures((*head, "other rows", "largest difference"), rows, names=3)
        yield f"Weights: {found['weights']}."
    for one in found["networks"]:
        if one["refusal"]:
            way = f"{one['extractor']} by {one['backend']} {one['precision']}"
            yield f"{way} does not run here: {one['refusal']}"
    heard = ("pitch of", "compared", "voicing alike", "missed", "invented", "within 50 cents")
    pitch = [row for one in found["pitch"] for row in _agreements(one)]
    yield Figures((*heard, "median cents", "gross", "CPU ms/s"), pitch, names=2)


def _deviations(one: Found) -> Iterator[tuple[str, ...]]:
    way = (one["extractor"], f"{one['backend']} {one['precision']}")
    for of in one["deviations"]:
        cosines = (f"{of[key]:.6f}" for key in ("lowest", "percentile", "median"))
        other, largest = f"{of['chance']:.4f}", f"{of['largest']:.2g}"
        yield (*way, of["array"], f"{of['rows']:,}", *cosines, other, largest)


def _agreements(one: Found) -> Iterator[tuple[str, ...]]:
    for method, of in one["against_truth"].items():
        yield one["name"], f"{method} / truth", *_agreement(of), f"{one['cpu_ms'][method]:.1f}"
    costs = " / ".join(f"{ms:.1f}" for ms in one["cpu_ms"].values())
    yield one["name"], " / ".join(one["cpu_ms"]), *_agreement(one["between"]), costs


def _agreement(of: Found) -> Iterator[str]:
    for key in ("voicing", "missed", "invented", "close", "cents", "gross"):
        value = of[key]
        yield "" if value is None else format(value, ".1f" if key == "cents" else ".1%")


def orchestrate(found: Found) -> Iterator[Block]:
    """CPU per utterance of which nothing is extracted, by process."""
    sizes, fixed = found["sizes"], found["fixed"]
    head = ["process", "a run at all: CPU s"]
    for one in sizes:
        head += [f"{one['utterances']:,}: CPU ms per utterance", "peak MB"]
    rows: list[tuple[str, ...]] = []
    for name, spent in fixed["cpu_seconds"].items():
        pairs = ((one["cpu_ms_by_process"][name], one["peak_mb"][name]) for one in sizes)
        cells = (cell for ms, mb in pairs for cell in (f"{ms:.3f}", f"{mb:,.0f}"))
        rows.append((name, f"{spent:.1f}", *cells))
    totals = (cell for one in sizes for cell in (f"{one['cpu_ms_per_utterance']:.3f}", ""))
    rows.append(("together", f"{sum(fixed['cpu_seconds'].values()):.1f}", *totals))
    yield Figures(head, rows)
    walls = ", ".join(
        f"{one['utterances']:,} utterances in {one['seconds']:.0f} s and "
        f"{one['settle_seconds']:.0f} s until the server had recorded all"
        for one in sizes
    )
    runs = sum(one["partitions"] for one in sizes)
    yield f"{walls}. {runs:,} task runs, {found['task_runs_lost']:,} of them never recorded."


def store(found: Found) -> Iterator[Block]:
    """Operations by size of the corpus, then ways of reading it."""
    yield _growth(found["growth"])
    yield (
        f"Reading {found['reading']['utterances']:,} utterances whole, which the page cache holds, "
        "so that this is about CPU and not about disks; medians of the rounds:"
    )
    yield _reading(found["reading"])


def _growth(found: Found) -> Figures:
    sizes = list(dict.fromkeys(one["utterances"] for one in found))
    by = {(one["operation"], one["utterances"]): one for one in found}
    head = ["operation"]
    for size in sizes:
        head += [f"{size:,}: s", "peak MB"]
    rows = []
    for operation in dict.fromkeys(one["operation"] for one in found):
        cells = (by[operation, size] for size in sizes)
        figures = ((f"{one['seconds']:.2f}", f"{one['peak_mb']:,.0f}") for one in cells)
        rows.append((operation, *(cell for pair in figures for cell in pair)))
    return Figures(head, rows)


def _reading(found: Found) -> Figures:
    rows = []
    for way, rounds in found["rounds"].items():
        cpu = statistics.median(one["cpu_seconds"] for one in rounds)
        speed = statistics.median(one["megabytes"] / one["wall_seconds"] for one in rounds)
        ratio = found["cpu_ratio"].get(way)
        rows.append((way, f"{cpu:.2f}", f"{speed:,.0f}", f"{ratio:.2f}" if ratio else ""))
    return Figures(("way", "CPU s", "MB/s", "times the CPU of partitions"), rows)


_TRAINING: Mapping[str, tuple[str, str]] = {
    "reading, s": ("read_seconds", ".1f"),
    "together, s": ("seconds", ".1f"),
    "CPU s": ("cpu_seconds", ".1f"),
    "peak MB": ("peak_mb", ",.0f"),
    "epochs": ("epochs", "d"),
}
"""Row → its key among a training's costs, and its format."""


def train(found: Found) -> Iterator[Block]:
    """Seconds by stage, CPU and memory of each network's training."""
    costs = found["costs"]
    rows = [
        (f"{stage}, s", *(f"{one['stages'][stage]:.1f}" for one in costs))
        for stage in costs[0]["stages"]
    ]
    for name, (key, how) in _TRAINING.items():
        rows.append((name, *(format(one[key], how) for one in costs)))
    yield Figures(("", *(one["network"] for one in costs)), rows)
    yield f"{found['utterances']:,} utterances in MELD's splits."


SECTIONS: Sequence[Section] = (
    Section(
        name="extract",
        title="Extraction against the usual scripts",
        command=("meldflow", "bench", "extract", "--json"),
        about="Both did the same clips in turns, so that the ratio holds although the machine's "
        "speed changes; from and to are the extremes of the rounds. The script is one process that "
        "uses all cores within each operation, as people run it: a part of its CPU time is threads "
        "that wait for one another, and a part of the ratio is that meldflow's clips run side by "
        "side.",
        blocks=extract,
    ),
    Section(
        name="stages",
        title="Where the CPU goes",
        command=("meldflow", "bench", "stages", "--json"),
        within="limit",
        about="`decode` and the extractors are the work; the rest is orchestration and storage. "
        "The first column of a precision is what each further clip costs on warm workers, the "
        "second adds what a run costs at all, spread over MELD's 13,708 utterances.",
        blocks=stages,
    ),
    Section(
        name="limit",
        title="How near that is to the least possible",
        command=("meldflow", "bench", "limit", "--json"),
        about="The floor is decoding alone, and the networks' operations at the rate of the "
        "fastest kernel found here, one thread each and all cores at it. A multiple of 1 cannot be "
        "reached: the floor leaves out everything else, and no network consists of its fastest "
        "kernel. OpenVINO's kernels are given fp32 and convert it, so that the rates compare no "
        "libraries. MiniLM always computes in fp32.",
        blocks=limit,
    ),
    Section(
        name="scale",
        title="More workers",
        command=("meldflow", "bench", "scale", "--json"),
        about="Simulated workers sleep for as long as a real one works; server, scheduler, flow, "
        "graph and commits are real, but the features are tiny, so that nothing is said of the "
        "bandwidth of store and clips. Efficiency is the clips per second against workers that "
        "never wait, while all have work, and with the end of the run.",
        blocks=scale,
    ),
    Section(
        name="fidelity",
        title="What is fast against what is exact",
        command=("meldflow", "bench", "fidelity", "--json"),
        about="Rows of features are compared with those by torch in fp32, where a cosine of 1 is "
        "the same direction; pitch by frames, with what is known of the sound and between methods.",
        blocks=fidelity,
    ),
    Section(
        name="orchestrate",
        title="Orchestration alone",
        command=("meldflow", "bench", "orchestrate", "--json"),
        about="Nothing is extracted, everything else is real; what remains is the price of an "
        "utterance's way through the system.",
        blocks=orchestrate,
    ),
    Section(
        name="store",
        title="The store",
        command=("meldflow", "bench", "store", "--json"),
        about="Each operation runs in a process of its own; `nothing` is the memory of one that "
        "does none. Features are cheap stand-ins, in partitions of 1,024 utterances.",
        blocks=store,
    ),
    Section(
        name="train",
        title="Training",
        command=("meldflow", "bench", "train", "--json"),
        about="Real trainings on texts alone, one seed, to convergence; on noise with "
        "some emotion in it. How much decides when dev is best, so seconds of MELD's texts differ.",
        blocks=train,
    ),
)
