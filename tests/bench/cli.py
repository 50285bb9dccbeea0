"""The commands that measure what meldflow costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from meldflow.flows.cli.app import Json, example
from meldflow.flows.cli.screen.terminal import err
from meldflow.models.schema.errors import UsageError

Directory = Annotated[
    Path | None,
    typer.Argument(
        help="Data set, table or folder of clips. Where it is not there, clips in MELD's format "
        "are made there; without it, in a folder that is not kept.",
        metavar="DIRECTORY",
    ),
]
Clips = Annotated[int, typer.Option(min=1, help="Distinct clips, evenly spread over all.")]
Precisions = Annotated[
    list[str] | None,
    typer.Option(
        help="Precision to measure, may be given several times; by default fp32, and bf16 where "
        "the processor has it."
    ),
]
PartitionSize = Annotated[
    int, typer.Option(min=1, max=1024, help="Utterances per partition, and of the small run.")
]

bench_commands = typer.Typer(
    no_args_is_help=True,
    help="Measure what meldflow costs.",
    epilog=example("python -m tests.bench orchestrate --utterances 100000"),
)


def shown(name: str, as_json: bool, measure: Callable[..., Any]) -> None:
    """Runs a bench, which tells meanwhile what it is doing, and shows what it found."""
    from tests.bench.report.screen import show

    with err.status("starting") as status:
        # In a log, line by line.
        found = measure(say=status.update if err.is_terminal else err.print)
    show(name, found.to_json(), as_json=as_json)


@bench_commands.command(
    epilog=example("python -m tests.bench orchestrate --utterances 100000 --json")
)
def orchestrate(
    utterances: Annotated[
        int, typer.Option(min=1, help="Size of the largest corpus; MELD's is measured as well.")
    ] = 100_000,
    as_json: Json = False,
) -> None:
    """CPU and memory of all processes for utterances of which nothing is extracted.

    A Prefect server, a Dask scheduler, its workers and the flow run as they do for real, with
    extractors that do nothing on a corpus of texts.
    """
    from tests.bench.scaling.orchestrate import orchestrate as measure

    shown("orchestrate", as_json, partial(measure, utterances))


@bench_commands.command(
    epilog=example(
        "python -m tests.bench extract bench/data --clips 48",
        "python -m tests.bench extract my-clips --rounds 5 --precision fp32 --json",
    )
)
def extract(
    directory: Directory = None,
    clips: Clips = 48,
    rounds: Annotated[int, typer.Option(min=1, help="How often both sides take turns.")] = 3,
    precision: Precisions = None,
    weights: Annotated[
        str, typer.Option(help="Of wav2vec 2.0 and ResNet-50, on both sides: random or pretrained.")
    ] = "random",
    as_json: Json = False,
) -> None:
    """How much faster than the usual sequential script, on the same clips in turns.

    Real processes on both sides: the script with all of torch's threads, and an extraction through
    Prefect and a warm Dask worker per core, everything committed to a store. Starts are shown
    apart.
    """
    from tests.bench.extraction.extract import compare

    shown(
        "extract",
        as_json,
        partial(
            compare, directory, clips=clips, rounds=rounds, asked=precision or (), weights=weights
        ),
    )


@bench_commands.command(
    epilog=example(
        "python -m tests.bench stages",
        "python -m tests.bench stages my-clips --precision fp32 --json",
    )
)
def stages(
    directory: Directory = None,
    clips: Clips = 48,
    precision: Precisions = None,
    partition: PartitionSize = 64,
    as_json: Json = False,
) -> None:
    """CPU of every stage per clip in real runs, and the share of orchestration and storage.

    A Prefect server, a Dask scheduler, warm workers and the flow run as they do for real, with
    networks of random weights, into stores of their own.
    """
    from tests.bench.extraction.stages import stages as measure

    shown(
        "stages",
        as_json,
        partial(measure, directory, clips=clips, asked=precision or (), partition=partition),
    )


@bench_commands.command(
    epilog=example(
        "python -m tests.bench limit", "python -m tests.bench limit my-clips --clips 12 --json"
    )
)
def limit(
    directory: Directory = None,
    clips: Clips = 48,
    precision: Precisions = None,
    partition: PartitionSize = 64,
    as_json: Json = False,
) -> None:
    """How near extraction comes to the least that this machine can do it with.

    The floor is decoding alone, and the networks' operations at the best rate that any kernel of
    torch or OpenVINO reaches on one thread. Ours is what `stages` measures, in the same run.
    """
    from tests.bench.extraction.limit import limit as measure

    shown(
        "limit",
        as_json,
        partial(measure, directory, clips=clips, asked=precision or (), partition=partition),
    )


@bench_commands.command(
    epilog=example(
        "python -m tests.bench scale clips --clips 48", "python -m tests.bench scale --seconds 1.4"
    )
)
def scale(
    directory: Directory = None,
    clips: Clips = 48,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often, on one worker and on two in turns.")
    ] = 2,
    workers: Annotated[
        str, typer.Option(help="How many workers to simulate, one run for each.", metavar="N,N,…")
    ] = "4,16,64,256",
    seconds: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="What a simulated worker takes per clip, instead of extracting for real.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """How many clips per second one, two and hundreds of workers extract.

    One and two workers extract the same clips in turns, by the real extractors. Hundreds are
    simulated: server, scheduler, flow, graph and store are real, the extractors sleep.
    """
    from tests.bench.scaling.scale import scale as measure

    shown(
        "scale",
        as_json,
        partial(
            measure,
            directory,
            clips=clips,
            rounds=rounds,
            workers=numbers("--workers", workers),
            clip_seconds=seconds,
        ),
    )


def numbers(option: str, given: str) -> list[int]:
    """Positive numbers in a list with commas.

    Raises:
        UsageError: it is none.
    """
    parts = [part.strip() for part in given.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise UsageError(f"{option} {given}: not numbers with commas between them, e.g. 4,16,64")
    return [int(part) for part in parts]


@bench_commands.command(
    epilog=example(
        "python -m tests.bench store", "python -m tests.bench store --sizes 13708 --json"
    )
)
def store(
    sizes: Annotated[
        str, typer.Option(help="Utterances of the stores, one after another.", metavar="N,N,…")
    ] = "13708,100000,1000000",
    utterances: Annotated[
        int, typer.Option(min=1, help="Utterances of the store that is read.")
    ] = 1024,
    rounds: Annotated[
        int, typer.Option(min=1, help="How often the ways of reading take turns.")
    ] = 3,
    as_json: Json = False,
) -> None:
    """How the store's operations grow with the corpus, and what reading it costs.

    Seconds and peak memory of opening, planning, writing and the rest, each in a process of its
    own, on features that cost nothing. Then a training's reading: shuffled partitions against
    random access.
    """
    from tests.bench.stores.store import measure

    shown(
        "store",
        as_json,
        partial(measure, numbers("--sizes", sizes), utterances=utterances, rounds=rounds),
    )


@bench_commands.command(
    epilog=example(
        "python -m tests.bench train",
        "python -m tests.bench train --network fusion --seeds 3 --ablations --json",
    )
)
def train(
    utterances: Annotated[
        int, typer.Option(min=100, help="Utterances of the store; MELD's number by default.")
    ] = 13_708,
    network: Annotated[
        list[str] | None, typer.Option(help="May be given several times; by default both.")
    ] = None,
    modalities: Annotated[str, typer.Option(metavar="NAME,…")] = "audio,text,video",
    seeds: Annotated[int, typer.Option(min=1, help="Fits of all modalities.")] = 2,
    ablations: Annotated[bool, typer.Option(help="Fit smaller choices of them as well.")] = False,
    workers: Annotated[
        str, typer.Option(help="How many, one number after another.", metavar="N,N,…")
    ] = "1,2",
    as_json: Json = False,
) -> None:
    """How long a training takes at MELD's size, on how many workers, and in how much memory.

    Real trainings under Prefect on Dask's workers, to convergence, reading and report included; on
    noise with some emotion in it.
    """
    from tests.bench.stores.training import NETWORKS, Work, measure

    work = Work(
        networks=network or NETWORKS,
        modalities=modalities.split(","),
        seeds=seeds,
        ablations=ablations,
        workers=numbers("--workers", workers),
    )
    shown("train", as_json, partial(measure, utterances, work=work))
