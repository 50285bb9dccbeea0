"""The command line: every command reads its arguments, calls one flow, shows what came out.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from models.schema import MeldflowError, UsageError

if TYPE_CHECKING:
    from tasks.options import ExtractOptions, TrainOptions

app = typer.Typer(
    name="meldflow",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Multimodal features of the MELD clips, extracted on a cluster, versioned and judged.",
)
out = Console()
err = Console(stderr=True)

Store = Annotated[str, typer.Argument(help="Folder of the feature store.", metavar="STORE")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Run this extractor only; may be given again.", metavar="NAME"),
]
WeightsOf = Annotated[
    list[str] | None,
    typer.Option(
        "--weights",
        help="`pretrained`, `random` or a checkpoint's path, for all extractors or as "
        "NAME=WEIGHTS for one; may be given again.",
        metavar="[NAME=]WEIGHTS",
    ),
]
Partition = Annotated[
    int, typer.Option(min=1, max=1024, help="Utterances per partition of a new store.")
]
Batch = Annotated[int, typer.Option(min=1, max=256, help="Clips decoded and encoded together.")]
RetryFailed = Annotated[bool, typer.Option(help="Try utterances again that failed before.")]
MaxFailureRate = Annotated[
    float,
    typer.Option(min=0.0, max=1.0, help="Fail the run above this share of failed utterances."),
]
Cluster = Annotated[
    Path | None,
    typer.Option("--cluster", help="Cluster profile, YAML; by default all cores of this machine."),
]
Report = Annotated[Path, typer.Option("--report", help="Folder for the report and the model.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]
Epochs = Annotated[int, typer.Option(min=1, help="Upper bound on the epochs.")]


def _example(*lines: str) -> str:
    return "**Example**\n\n" + "\n\n".join(f"`{line}`" for line in lines)


@app.command(epilog=_example("meldflow synth demo/data --dialogues 20 --seed 7"))
def synth(
    directory: Annotated[Path, typer.Argument(help="A new folder.", metavar="DIR")],
    dialogues: Annotated[int, typer.Option(min=3, help="Dialogues, over all splits.")] = 20,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a demo data set in MELD's shape: drawn faces, synthetic voices, fitting words."""
    from flows import screen
    from tasks.synth.dataset import synthesise

    with screen.counting("drawing clips") as on_clip:
        summary = synthesise(directory, dialogues=dialogues, seed=seed, on_clip=on_clip)
    screen.show_synth(summary, as_json=as_json)


@app.command(
    epilog=_example(
        "meldflow extract MELD.Raw --store store",
        "meldflow extract MELD.Raw --store store --only text/minilm",
        "meldflow extract demo/data --store demo/store --weights random "
        "--weights text/minilm=pretrained",
    )
)
def extract(
    dataset: Annotated[Path, typer.Argument(help="Folder with CSV files and clips.")],
    store: Annotated[str, typer.Option(help="Folder of the feature store.")] = "store",
    only: Only = None,
    weights: WeightsOf = None,
    partition: Partition = 64,
    batch: Batch = 8,
    retry_failed: RetryFailed = False,
    max_failure_rate: MaxFailureRate = 0.25,
    cluster: Cluster = None,
    as_json: Json = False,
) -> None:
    """Extract whatever is new or changed, on all cores, and publish one snapshot."""
    from flows import screen

    options = _extract_options(
        dataset, store, only, weights, partition, batch, retry_failed, max_failure_rate, cluster
    )
    _check_before_start(options)
    with screen.prefect():
        from flows.extract import extract as flow

        report = flow(options)
    screen.show_extraction(report, as_json=as_json)


@app.command(epilog=_example("meldflow train store --report report"))
def train(
    store: Store,
    snapshot: Annotated[str, typer.Option(help="Branch, tag or snapshot id.")] = "main",
    report: Report = Path("report"),
    protocol: Annotated[str, typer.Option(help="How to fit and judge: official.")] = "official",
    seed: Seed = 0,
    epochs: Epochs = 40,
    as_json: Json = False,
) -> None:
    """Train the reference network and an SVM on a snapshot, judge both, write the report."""
    from flows import screen
    from storage import open_store
    from tasks.options import TrainOptions
    from tasks.training import check_report

    open_store(store, snapshot)
    check_report(report)
    options = TrainOptions(
        store=store, snapshot=snapshot, report=report, protocol=protocol, seed=seed, epochs=epochs
    )
    with screen.prefect():
        from flows.train import train as flow

        trained = flow(options)
    screen.show_training(trained, as_json=as_json)


@app.command(epilog=_example("meldflow pipeline MELD.Raw --store store --report report"))
def pipeline(
    dataset: Annotated[Path, typer.Argument(help="Folder with CSV files and clips.")],
    store: Annotated[str, typer.Option(help="Folder of the feature store.")] = "store",
    report: Report = Path("report"),
    only: Only = None,
    weights: WeightsOf = None,
    partition: Partition = 64,
    batch: Batch = 8,
    retry_failed: RetryFailed = False,
    max_failure_rate: MaxFailureRate = 0.25,
    cluster: Cluster = None,
    protocol: Annotated[str, typer.Option(help="How to fit and judge: official.")] = "official",
    seed: Seed = 0,
    epochs: Epochs = 40,
    as_json: Json = False,
) -> None:
    """Extract, then train on the snapshot that was published."""
    extraction = _extract_options(
        dataset, store, only, weights, partition, batch, retry_failed, max_failure_rate, cluster
    )
    from tasks.options import TrainOptions

    training = TrainOptions(store=store, report=report, protocol=protocol, seed=seed, epochs=epochs)
    _run_pipeline(extraction, training, as_json=as_json)


@app.command(epilog=_example("meldflow status store --json"))
def status(
    store: Store,
    snapshot: Annotated[str, typer.Option(help="Branch, tag or snapshot id.")] = "main",
    as_json: Json = False,
) -> None:
    """Show how many utterances each extractor has done, by split."""
    from flows import screen
    from storage import open_store

    screen.show_status(open_store(store, snapshot), as_json=as_json)


@app.command(epilog=_example("meldflow failures store", "meldflow failures store --json"))
def failures(
    store: Store,
    snapshot: Annotated[str, typer.Option(help="Branch, tag or snapshot id.")] = "main",
    as_json: Json = False,
) -> None:
    """List the utterances that have no feature, and why."""
    from flows import screen
    from storage import open_store

    screen.show_failures(open_store(store, snapshot), as_json=as_json)


@app.command(epilog=_example("meldflow demo", "meldflow demo --directory /tmp/demo --dialogues 12"))
def demo(
    directory: Annotated[Path, typer.Option(help="Where everything goes.")] = Path("demo"),
    dialogues: Annotated[int, typer.Option(min=3, help="Dialogues, over all splits.")] = 20,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Make a small data set, extract it, train on it, and leave a report to read.

    Wav2Vec2 and ResNet-50 get random weights here, since their real ones need a download;
    MiniLM has its real ones.
    """
    from flows import screen
    from tasks.options import ExtractOptions, TrainOptions
    from tasks.synth.dataset import synthesise

    with screen.counting("drawing clips") as on_clip:
        summary = synthesise(directory / "data", dialogues=dialogues, seed=seed, on_clip=on_clip)
    if not as_json:
        screen.show_synth(summary, as_json=False)
    extraction = ExtractOptions(
        dataset=directory / "data",
        store=str(directory / "store"),
        weights="random",
        weights_of={"text/minilm": "pretrained"},
        partition=32,
    )
    training = TrainOptions(store=str(directory / "store"), report=directory / "report", seed=seed)
    _run_pipeline(extraction, training, as_json=as_json)


def _run_pipeline(extraction: ExtractOptions, training: TrainOptions, *, as_json: bool) -> None:
    from flows import screen
    from tasks.training import check_report

    _check_before_start(extraction)
    check_report(training.report)
    with screen.prefect():
        from flows.pipeline import pipeline as flow

        extracted, trained = flow(extraction, training)
    if as_json:
        out.print_json(data={"extract": extracted.to_json(), "train": trained.to_json()})
        return
    screen.show_extraction(extracted, as_json=False)
    screen.show_training(trained, as_json=False)


def _extract_options(
    dataset: Path,
    store: str,
    only: list[str] | None,
    weights: list[str] | None,
    partition: int,
    batch: int,
    retry_failed: bool,
    max_failure_rate: float,
    cluster: Path | None,
) -> ExtractOptions:
    from tasks.options import ExtractOptions, load_profile

    named = dict(one.split("=", 1) for one in weights or () if "=" in one)
    for_all = [one for one in weights or () if "=" not in one]
    if len(for_all) > 1:
        raise UsageError(f"--weights: {for_all[0]} and {for_all[1]} both for all extractors")
    return ExtractOptions(
        dataset=dataset.absolute(),
        store=store,
        only=tuple(only or ()),
        weights=for_all[0] if for_all else "pretrained",
        weights_of=named,
        partition=partition,
        batch=batch,
        retry_failed=retry_failed,
        max_failure_rate=max_failure_rate,
        cluster=load_profile(cluster),
    )


def _check_before_start(options: ExtractOptions) -> None:
    """Finds what the user got wrong before a server is started for nothing."""
    from models import registry
    from storage import location
    from tasks.cluster import worker_count
    from tasks.intake import find_annotations

    find_annotations(options.dataset)
    worker_count(options.cluster)
    location.check_writable(options.store)
    with err.status("looking for the networks' weights"):
        registry.build(options.only, options.weights_of, options.weights)


def main() -> None:
    """Runs the command line; every failure that we know ends in one line.

    Exit codes: 0 success, 1 a failed run, 2 wrong usage, 130 stopped by Ctrl-C.
    """
    from tasks.server import QUIET

    # Before Prefect is imported anywhere: it reads its settings then.
    os.environ.update({name: os.environ.get(name, value) for name, value in QUIET.items()})
    try:
        app()
    except MeldflowError as error:
        err.print(f"[bold red]meldflow:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
