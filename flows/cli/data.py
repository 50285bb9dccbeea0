"""The commands about clips and annotations: making, checking and looking into them."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from meldflow.flows.cli.app import DATA, Answer, command
from meldflow.flows.cli.screen import results
from meldflow.flows.cli.screen.terminal import err
from meldflow.tasks.options import AuditOptions

Directory = Annotated[Path, typer.Argument(help="A new folder.", metavar="DIR")]
Dialogues = Annotated[int, typer.Option(min=3, help="Dialogues, over all splits.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is drawn.")]


@command(DATA, "meldflow synth demo/data --dialogues 20 --seed 7")
def synth(directory: Directory, dialogues: Dialogues = 20, seed: Seed = 0) -> Answer:
    """Write a demo data set in MELD's shape: drawn faces, synthetic voices, fitting words."""
    from meldflow.tasks.demo.dataset import synthesise

    return Answer(synthesise(directory, dialogues=dialogues, seed=seed), results.show_synth)


@command(
    DATA,
    "meldflow audit MELD.Raw --html audit.html",
    "meldflow audit MELD.Raw --annotations-only --json",
)
def audit(
    options: AuditOptions,
    html: Annotated[
        Path | None, typer.Option(help="Write a report to read, one page.", metavar="FILE")
    ] = None,
) -> Answer:
    """List every discrepancy between a data set's annotations and its clips."""
    from meldflow.tasks.audit.page import write_page
    from meldflow.tasks.audit.stock import check_page, take_stock
    from meldflow.tasks.dataset import check_source

    check_source(options.dataset)
    if html is not None:
        check_page(html)
    if options.annotations_only:
        # A second of work; starting a server for it would take ten times as long.
        report = take_stock(options)
    else:
        with results.prefect():
            from meldflow.flows.audit import audit as flow

            report = flow(options)
    if html is not None:
        write_page(report, html)
    return Answer(report, results.show_audit)


@command(DATA, "meldflow inspect clip.mp4", "meldflow inspect clip.mp4 --html clip.html")
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
) -> Answer:
    """Look into one clip: what an extraction would see of it, and why not more."""
    from meldflow.flows.cli.screen.clip import show_inspection
    from meldflow.tasks.inspection.inspect import look_into
    from meldflow.tasks.inspection.page import check_page, write
    from meldflow.tasks.inspection.rows import to_json

    if html is not None:
        check_page(html)
    with err.status("looking into the clip"):
        found = look_into(clip, text=text, strict=strict)
        written = write(found, page=html, figures=png)
    return Answer(found, partial(show_inspection, written), to_json)
