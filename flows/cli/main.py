"""The command line: every command reads its arguments, does one thing, shows what came out.

Heavy libraries are imported inside the commands, so that `--help` answers at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from rich.markup import escape

from meldflow.flows.cli.app import Json, Ref, Store, app, err, example, out
from meldflow.flows.cli.parameters import Seed, extraction, spread_reasons, takes, training
from meldflow.flows.cli.predict import predict_commands
from meldflow.flows.cli.serve import serve_commands
from meldflow.flows.cli.store import store_commands
from meldflow.flows.cli.watch import watch_commands
from meldflow.models.schema.errors import MeldflowError

if TYPE_CHECKING:
    from meldflow.tasks.options import ExtractOptions, TrainOptions


app.add_typer(store_commands)
app.add_typer(predict_commands)
app.add_typer(watch_commands)
app.add_typer(serve_commands)


@app.command(
    epilog=example(
        "meldflow synth demo/data --dialogues 20 --seed 7",
    )
)
def synth(
    directory: Annotated[Path, typer.Argument(help="A new folder.", metavar="DIR")],
    dialogues: Annotated[int, typer.Option(min=3, help="Dialogues, over all splits.")] = 20,
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Write a demo data set in MELD's shape: drawn faces, synthetic voices, fitting words."""
    from meldflow.flows.cli.screen import results
    from meldflow.tasks.demo.dataset import synthesise

    with results.counting("drawing clips") as on_clip:
        summary = synthesise(directory, dialogues=dialogues, seed=seed, on_clip=on_clip)
    results.show_synth(summary, as_json=as_json)


@app.command(
    epilog=example(
        "meldflow extract MELD.Raw --store store",
        "meldflow extract MELD.Raw --store store --only text/minilm",
        "meldflow extract MELD.Raw --store store --retry-failed timeout crashed",
        "meldflow extract --clips my-clips --store store --only audio/librosa",
        "meldflow extract demo/data --store demo/store --weights random "
        "--weights text/minilm=pretrained",
    )
)
@takes(options=extraction)
def extract(options: ExtractOptions, as_json: Json = False) -> None:
    """Extract whatever is new or changed, on all cores, and publish one snapshot."""
    from meldflow.flows.cli.screen import results

    _check_before_start(options)
    with results.prefect():
        from meldflow.flows.extract import extract as flow
        from meldflow.flows.serving.server import outcome

        report = outcome(flow, options)
    results.show_extraction(report, as_json=as_json)


@app.command(
    epilog=example(
        "meldflow train store --report report",
        "meldflow train store --modalities text --seeds 5 --json",
        "meldflow train store --protocol leaky-80-20",
    )
)
@takes(options=training)
def train(
    store: Store,
    options: TrainOptions,
    snapshot: Ref = "main",
    as_json: Json = False,
) -> None:
    """Train a network and an SVM on a snapshot, judge both, write the report."""
    from meldflow.flows.cli.screen import results
    from meldflow.storage import open_store
    from meldflow.tasks.training.steps import check_training

    open_store(store, snapshot)
    check_training(options)
    with results.prefect():
        from meldflow.flows.serving.server import outcome
        from meldflow.flows.train import train as flow

        trained = outcome(flow, options.model_copy(update={"snapshot": snapshot}))
    results.show_training(trained, as_json=as_json)


@app.command(epilog=example("meldflow pipeline MELD.Raw --store store --report report"))
@takes(extract_options=extraction, train_options=training)
def pipeline(
    extract_options: ExtractOptions, train_options: TrainOptions, as_json: Json = False
) -> None:
    """Audit, extract, then train on the snapshot that was published."""
    _run_pipeline(extract_options, train_options, as_json=as_json)


@app.command(
    epilog=example(
        "meldflow audit MELD.Raw --html audit.html",
        "meldflow audit MELD.Raw --annotations-only --json",
    )
)
def audit(
    dataset: Annotated[
        Path,
        typer.Argument(
            help="Folder with MELD's CSV files and clips, or a .csv or .parquet file that lists "
            "clips of your own."
        ),
    ],
    annotations_only: Annotated[
        bool, typer.Option("--annotations-only", help="Leave the clips alone.")
    ] = False,
    no_fixes: Annotated[
        bool, typer.Option("--no-fixes", help="Leave the list of known defects aside.")
    ] = False,
    html: Annotated[
        Path | None, typer.Option(help="Write a report to read, one page.", metavar="FILE")
    ] = None,
    as_json: Json = False,
) -> None:
    """List every discrepancy between a data set's annotations and its clips."""
    from meldflow.flows.cli.screen import results
    from meldflow.tasks.audit.page import write_page
    from meldflow.tasks.audit.stock import check_page, take_stock
    from meldflow.tasks.dataset import check_source
    from meldflow.tasks.options import AuditOptions

    check_source(dataset)
    if html is not None:
        check_page(html)
    options = AuditOptions(
        dataset=dataset.absolute(), annotations_only=annotations_only, fixes=not no_fixes
    )
    if annotations_only:
        # A second of work; starting a server for it would take ten times as long.
        report = take_stock(options)
    else:
        with results.prefect():
            from meldflow.flows.audit import audit as flow

            report = flow(options)
    if html is not None:
        write_page(report, html)
    results.show_audit(report, as_json=as_json)


@app.command(epilog=example("meldflow status store --json"))
def status(
    store: Store,
    snapshot: Ref = "main",
    as_json: Json = False,
) -> None:
    """Show how many utterances each extractor has done, by split."""
    from meldflow.flows.cli.screen import results
    from meldflow.storage import open_store

    results.show_status(open_store(store, snapshot), as_json=as_json)


@app.command(epilog=example("meldflow clips store --damaged", "meldflow clips store --json"))
def clips(
    store: Store,
    snapshot: Ref = "main",
    damaged: Annotated[
        bool, typer.Option("--damaged", help="Only clips of which a part is lost.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show what decoding found in each clip: codecs, rates, lengths, frames, damage."""
    from meldflow.flows.cli.screen import results
    from meldflow.storage import open_store

    results.show_clips(open_store(store, snapshot), damaged=damaged, as_json=as_json)


@app.command(epilog=example("meldflow failures store", "meldflow failures store --json"))
def failures(
    store: Store,
    snapshot: Ref = "main",
    as_json: Json = False,
) -> None:
    """List the utterances that have no feature, and why."""
    from meldflow.flows.cli.screen import results
    from meldflow.storage import open_store

    results.show_failures(open_store(store, snapshot), as_json=as_json)


@app.command(
    epilog=example("meldflow inspect clip.mp4", "meldflow inspect clip.mp4 --html clip.html")
)
def inspect(
    clip: Annotated[Path, typer.Argument(help="The clip.", metavar="CLIP")],
    html: Annotated[
        Path | None, typer.Option(help="Write a page with its curves and frames.", metavar="FILE")
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="Write the figures of that page there.", metavar="DIR")
    ] = None,
    text: Annotated[str, typer.Option(help="The words of the utterance.")] = "",
    strict: Annotated[
        bool, typer.Option("--strict", help="Refuse a damaged clip; else its good part is kept.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Look into one clip: what an extraction would see of it, and why not more."""
    from meldflow.flows.cli.screen.inspect import show_inspection
    from meldflow.tasks.inspection.look import look_into
    from meldflow.tasks.inspection.page import check_page, write

    if html is not None:
        check_page(html)
    with err.status("looking into the clip"):
        found = look_into(clip, text=text, strict=strict)
        written = write(found, page=html, figures=png)
    show_inspection(found, written, as_json=as_json)


@app.command(epilog=example("meldflow demo", "meldflow demo --directory /tmp/demo --dialogues 12"))
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
    from meldflow.flows.cli.screen import results
    from meldflow.tasks.demo.dataset import synthesise
    from meldflow.tasks.options import ExtractOptions, TrainOptions

    with results.counting("drawing clips") as on_clip:
        summary = synthesise(directory / "data", dialogues=dialogues, seed=seed, on_clip=on_clip)
    if not as_json:
        results.show_synth(summary, as_json=False)
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
    from meldflow.flows.cli.screen import results
    from meldflow.tasks.extraction.inputs import labelled
    from meldflow.tasks.training.steps import check_training

    labelled(extraction)
    _check_before_start(extraction)
    check_training(training)
    with results.prefect():
        from meldflow.flows.pipeline import pipeline as flow
        from meldflow.flows.serving.server import outcome

        extracted, trained = outcome(flow, extraction, training)
    if as_json:
        out.print_json(data={"extract": extracted.to_json(), "train": trained.to_json()})
        return
    results.show_extraction(extracted, as_json=False)
    results.show_training(trained, as_json=False)


def _check_before_start(options: ExtractOptions) -> None:
    """Finds what the user got wrong before a server is started for nothing."""
    from meldflow.storage.places import location
    from meldflow.tasks.cluster.profile import load_profile
    from meldflow.tasks.extraction.inputs import check_inputs

    load_profile(options.cluster).check()
    with err.status("looking at the data set and for the networks' weights"):
        check_inputs(options)
    location.check_writable(options.store)


def main() -> None:
    """Runs the command line."""
    answer(app)


def answer(commands: typer.Typer) -> None:
    """Does what the command line asks of ``commands``; what fails as we know ends in one line.

    Exit codes: 0 success, 1 a failed run, 2 wrong usage, 130 stopped by Ctrl-C.
    """
    from meldflow.flows.serving.server import ALIVE, PATIENT, QUIET, undelivered
    from meldflow.tasks.cluster.environment import NO_SPINNING, SAFE_PATH

    # Before Prefect and torch are imported anywhere: they read their settings then.
    for name, value in (QUIET | PATIENT | ALIVE | NO_SPINNING | SAFE_PATH).items():
        os.environ.setdefault(name, value)
    sys.argv[1:] = spread_reasons(sys.argv[1:])
    code = _code_of(commands)
    for url in undelivered():
        err.print(f"prefect server {url}: it was away in the end, and lacks a part of this run")
    sys.stdout.flush()
    if undelivered():
        os._exit(code)  # Prefect's threads would try for hours
    sys.exit(code)


def _code_of(commands: typer.Typer) -> int:
    try:
        commands()
    except SystemExit as ended:
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except ValidationError as error:
        from meldflow.tasks.options import first_problem

        err.print(f"[bold red]meldflow:[/] {escape(first_problem(error))}", highlight=False)
        return 2
    except MeldflowError as error:
        err.print(f"[bold red]meldflow:[/] {escape(str(error))}", highlight=False, soft_wrap=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    main()
