"""The sections of ``docs/performance.md``: a bench each, from the JSON that it prints.

A section is a function from that JSON to lines of Markdown, and a row of ``SECTIONS``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from tasks.watching.words import code, table, text

Found: TypeAlias = Any
"""What ``json.loads`` gives of a bench's output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A bench in the document."""

    name: str
    """Its JSON is ``NAME.json``."""
    title: str
    command: tuple[str, ...]
    """What prints that JSON, ``meldflow …`` or ``python …``."""
    about: str
    """How to read the figures."""
    lines: Callable[[Found], Iterator[str]]
    within: str = ""
    """A bench that measures this as well, and prints it under this name; it is run instead."""

    @property
    def line(self) -> str:
        """The command as one types it."""
        return " ".join(self.command)


def extract(found: Found) -> Iterator[str]:
    """How much faster than the usual scripts, and the costs of both."""
    ratios = {name: ratio for name, ratio in found["ratio"].items() if ratio is not None}
    yield from table(
        ("precision", "times as fast as the usual scripts", "from", "to"),
        (
            (name, *(f"{ratio[key]:.2f}" for key in ("median", "min", "max")))
            for name, ratio in ratios.items()
        ),
        " rrr",
    )
    yield ""
    ways = {"usual scripts": found["usual"]}
    ways |= {f"meldflow, {name}": one for name, one in found["meldflow"].items() if one}
    rows = (
        (
            name,
            *(f"{one['clips_per_second'][key]:.3f}" for key in ("median", "min", "max")),
            f"{one['cpu_seconds_per_clip']:.3f}",
            f"{one['peak_mb']:,.0f}",
            f"{one['worker_mb']:,.0f}",
            f"{one['cold_seconds']:.1f}",
        )
        for name, one in ways.items()
    )
    head = ("", "clips/s", "from", "to", "CPU s per clip", "peak MB", "of a worker", "cold start s")
    yield from table(head, rows, " rrrrrrr")
    steps = found["usual"].get("steps")
    if steps:
        yield ""
        each = ((text(name), _number(one)) for name, one in steps.items())
        yield from table(("step of the usual scripts", "per clip"), each, " r")


def stages(found: Found) -> Iterator[str]:
    """CPU per clip and part, by precision, with the share of orchestration and storage."""
    runs = found["precisions"]
    head = ["CPU ms per clip"]
    for name in runs:
        head += [name, f"{name}, all of MELD"]
    both = [one for run in runs.values() for one in (run, run["at_meld"])]
    columns = [one["cpu_ms_per_clip"] for one in both]
    rows = [(code(part), *(f"{one[part]:.1f}" for one in columns)) for part in columns[0]]
    rows.append(("together", *(f"{one['total_ms']:.1f}" for one in both)))
    rows.append(("orchestration and storage", *(f"{one['rest_ms']:.1f}" for one in both)))
    rows.append(("their share", *(f"{one['rest_share']:.1%}" for one in both)))
    yield from table(head, rows, " " + "r" * len(both))
    yield ""
    yield (
        f"{found['clips']} distinct clips of {found['clip_seconds']:.1f} s on average, in "
        f"partitions of {found['partition']}."
    )


def limit(found: Found) -> Iterator[str]:
    """Ours against the floor, and the rates that the floor rests on."""
    for name, one in found["precisions"].items():
        best = one["best"]
        yield (
            f"**{name}: {one['ours_ms'] / 1000:.3f} core-seconds per clip, {one['multiple']:.2f} "
            f"times the floor of {one['floor_ms'] / 1000:.3f}.** The fastest kernel is "
            f"{best['library']}'s {best['kernel']}: {best['gflop_per_second']:,.0f} GFLOP/s."
        )
        yield ""
        parts = one["parts"]
        rows = [
            (
                code(part),
                f"{of['ours_ms']:.1f}",
                f"{of['floor_ms']:.1f}" if of["multiple"] is not None else "",
                f"{of['multiple']:.2f}" if of["multiple"] is not None else "",
            )
            for part, of in parts.items()
        ]
        total = (f"{one['ours_ms']:.1f}", f"{one['floor_ms']:.1f}", f"{one['multiple']:.2f}")
        head = ("CPU ms per clip", "ours", "floor", "multiple")
        yield from table(head, [*rows, ("together", *total)], " rrr")
        yield ""
    gflop = ", ".join(f"{name} {one:.1f}" for name, one in found["gflop"].items())
    yield (
        f"Operations per clip, GFLOP: {gflop}. ResNet-50 on one picture is counted as "
        f"{found['resnet50_gmac_per_picture']:.2f} GMAC; "
        f"{found['published_gmac_per_picture']:.2f} is published."
    )
    yield ""
    rates = sorted(found["rates"], key=lambda rate: -float(rate["gflop_per_second"]))
    rows = [
        (rate["library"], rate["kernel"], rate["precision"], f"{rate['gflop_per_second']:,.0f}")
        for rate in rates
    ]
    yield from table(("library", "kernel", "precision", "GFLOP/s"), rows, "   r")


def scale(found: Found) -> Iterator[str]:
    """One and two workers for real, hundreds simulated."""
    if found["real"]:
        rows = (
            (f"{one['workers']}", f"{one['clips']:,}", f"{one['clips_per_second']:.3f}")
            for one in found["real"]
        )
        yield from table(("workers", "clips", "clips/s"), rows, "rrr")
        yield ""
        yield f"Two workers are {found['factor']:.2f} times as fast as one."
        yield ""
    simulated = (
        (
            f"{one['workers']:,}",
            f"{one['clips']:,}",
            f"{one['clips_per_second']:.1f}",
            f"{one['efficiency']:.1%}",
            ", ".join(f"{name} {cores:.2f}" for name, cores in one["cores"].items()),
        )
        for one in found["simulated"]
    )
    head = ("simulated workers", "clips", "clips/s", "efficiency", "cores taken")
    yield from table(head, simulated, "rrrr")
    yield ""
    yield (
        f"A simulated clip takes {found['clip_seconds']:.2f} s of a worker. Growth stays linear "
        f"(efficiency of 90 % or more) up to {found['linear_until']:,} workers."
    )


def fidelity(found: Found) -> Iterator[str]:
    """What precisions, backends and the fast pitch change."""
    rows: list[tuple[str, ...]] = []
    for one in found.get("networks", ()):
        how = (code(one["extractor"]), f"{one['backend']} {one['precision']}")
        if one["refusal"]:
            rows.append((*how, text(one["refusal"]), "", "", "", ""))
        for of in one["deviations"]:
            cosines = (f"{of[key]:.6f}" for key in ("lowest", "percentile", "median"))
            rows.append((*how, of["array"], f"{of['rows']:,}", *cosines, f"{of['largest']:.2g}"))
    if rows:
        head = ("network", "computed by", "rows of", "rows", "lowest cosine", "1 %", "median")
        yield from table((*head, "largest difference"), rows, "   rrrrr")
        yield ""
    keys = ("voicing", "missed", "invented", "close", "cents", "gross")
    pitch: list[tuple[str, ...]] = []
    for one in found["pitch"]:
        pairs = {f"{name} / truth": of for name, of in one["against_truth"].items()}
        pairs[" / ".join(one["cpu_ms"])] = one["between"]
        for name, of in pairs.items():
            cells = ((of[key], ".1f" if key == "cents" else ".1%") for key in keys)
            figures = ("" if value is None else format(value, how) for value, how in cells)
            pitch.append((text(one["name"]), name, *figures))
    heard = ("pitch of", "compared", "voicing alike", "missed", "invented", "within 50 cents")
    yield from table((*heard, "median cents", "gross"), pitch, "  rrrrrr")


def orchestrate(found: Found) -> Iterator[str]:
    """CPU per utterance of which nothing is extracted, by process."""
    sizes = found["sizes"]
    names = list(sizes[0]["cpu_ms_by_process"])
    head = ["process"]
    for one in sizes:
        head += [f"{one['utterances']:,}: CPU ms per utterance", "peak MB"]
    rows: list[tuple[str, ...]] = []
    for name in names:
        pairs = ((one["cpu_ms_by_process"][name], one["peak_mb"][name]) for one in sizes)
        rows.append((name, *(cell for ms, mb in pairs for cell in (f"{ms:.3f}", f"{mb:,.0f}"))))
    totals = (cell for one in sizes for cell in (f"{one['cpu_ms_per_utterance']:.3f}", ""))
    rows.append(("together", *totals))
    yield from table(head, rows, " " + "rr" * len(sizes))
    yield ""
    fixed = sum(found["fixed"]["cpu_seconds"].values())
    yield f"A run of one partition takes {fixed:.1f} s of CPU in all processes together."


def store(found: Found) -> Iterator[str]:
    """Operations by size of the corpus, then ways of reading it."""
    yield from _growth(found["growth"])
    yield ""
    yield (
        f"Reading {found['reading']['utterances']:,} utterances whole, which the page cache holds, "
        "so that this is about CPU and not about disks:"
    )
    yield ""
    yield from _reading(found["reading"])


def _growth(found: Found) -> Iterator[str]:
    """Seconds and memory of the store's operations, by size of the corpus."""
    sizes = list(dict.fromkeys(one["utterances"] for one in found))
    by = {(one["operation"], one["utterances"]): one for one in found}
    head = ["operation"]
    for size in sizes:
        head += [f"{size:,}: s", "peak MB"]
    rows = []
    for operation in dict.fromkeys(one["operation"] for one in found):
        cells = (by[operation, size] for size in sizes)
        figures = ((f"{one['seconds']:.2f}", f"{one['peak_mb']:,.0f}") for one in cells)
        rows.append((text(operation), *(cell for pair in figures for cell in pair)))
    yield from table(head, rows, " " + "rr" * len(sizes))


def _reading(found: Found) -> Iterator[str]:
    """Ways of reading all frames, the round of least CPU."""
    rows = []
    for name, rounds in found["rounds"].items():
        best = min(rounds, key=lambda one: float(one["cpu_seconds"]))
        speed = best["megabytes"] / best["wall_seconds"]
        ratio = found["cpu_ratio"].get(name)
        times = f"{ratio:.2f}" if ratio else ""
        rows.append((text(name), f"{best['cpu_seconds']:.2f}", f"{speed:,.0f}", times))
    head = ("way", "CPU s", "MB/s", "times the CPU of partitions")
    yield from table(head, rows, " rrr")


def train(found: Found) -> Iterator[str]:
    """Seconds by stage, CPU and memory of each network's training."""
    costs = found["costs"]
    stages = [(stage, [one["stages"][stage] for one in costs]) for stage in costs[0]["stages"]]
    rows = [(f"{text(name)}, s", *(f"{one:.1f}" for one in several)) for name, several in stages]
    for name, key, how in (
        ("reading, s", "read_seconds", ".1f"),
        ("together, s", "seconds", ".1f"),
        ("CPU s", "cpu_seconds", ".1f"),
        ("peak MB", "peak_mb", ",.0f"),
        ("epochs", "epochs", "d"),
    ):
        rows.append((name, *(format(one[key], how) for one in costs)))
    yield from table(("", *(one["network"] for one in costs)), rows, " " + "r" * len(costs))
    yield ""
    yield f"{found['utterances']:,} utterances in MELD's splits."


SECTIONS: Sequence[Section] = (
    Section(
        name="extract",
        title="Extraction against the usual scripts",
        command=("meldflow", "bench", "extract", "--json"),
        about="Both did the same clips in turns, so that the ratio holds although the machine's "
        "speed changes; from and to are the extremes of the rounds.",
        lines=extract,
    ),
    Section(
        name="stages",
        title="Where the CPU goes",
        command=("meldflow", "bench", "stages", "--json"),
        within="limit",
        about="`decode` and the extractors are the work; the rest is orchestration and storage. "
        "The first column of a precision is what each further clip costs on warm workers, the "
        "second adds what a run costs at all, spread over MELD's 13,708 utterances.",
        lines=stages,
    ),
    Section(
        name="limit",
        title="How near that is to the least possible",
        command=("meldflow", "bench", "limit", "--json"),
        about="The floor is decoding alone, and the networks' operations at the rate of the "
        "fastest kernel found here, one thread each. A multiple of 1 cannot be reached: the "
        "floor leaves out everything else, and no network consists of its fastest kernel.",
        lines=limit,
    ),
    Section(
        name="scale",
        title="More workers",
        command=("meldflow", "bench", "scale", "--json"),
        about="Simulated workers sleep for as long as a real one works, everything around them is "
        "real; efficiency is the clips per second against workers that never wait.",
        lines=scale,
    ),
    Section(
        name="fidelity",
        title="What is fast against what is exact",
        command=("meldflow", "bench", "fidelity", "--json"),
        about="Rows of features are compared with those by torch in fp32, where a cosine of 1 is "
        "the same direction; pitch by frames, with what is known of the sound and between methods.",
        lines=fidelity,
    ),
    Section(
        name="orchestrate",
        title="Orchestration alone",
        command=("meldflow", "bench", "orchestrate", "--json"),
        about="Nothing is extracted, everything else is real; what remains is the price of an "
        "utterance's way through the system.",
        lines=orchestrate,
    ),
    Section(
        name="store",
        title="The store",
        command=("meldflow", "bench", "store", "--json"),
        about="Each operation runs in a process of its own; `nothing` is the memory of one that "
        "does none. Features are cheap stand-ins.",
        lines=store,
    ),
    Section(
        name="train",
        title="Training",
        command=("meldflow", "bench", "train", "--json"),
        about="Real trainings on texts alone, one seed, to convergence; on noise with "
        "some emotion in it. How much decides when dev is best, so seconds of MELD's texts differ.",
        lines=train,
    ),
)


def _number(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else text(str(value))
