"""The commands that measure what meldflow costs."""

from __future__ import annotations

from typing import Annotated

import typer

from flows.app import Json, err, example

bench_commands = typer.Typer(
    no_args_is_help=True,
    help="Measure what meldflow costs.",
    epilog=example("meldflow bench orchestrate --utterances 100000"),
)


@bench_commands.command(epilog=example("meldflow bench orchestrate --utterances 100000 --json"))
def orchestrate(
    utterances: Annotated[
        int, typer.Option(min=1, help="Size of the largest corpus; MELD's is measured as well.")
    ] = 100_000,
    as_json: Json = False,
) -> None:
    """CPU and memory of all processes for utterances of which nothing is extracted.

    A Prefect server, a Dask scheduler, two workers and the flow run as they do for real, with
    extractors that do nothing on a corpus of texts.
    """
    from flows.screen_bench import show_orchestration
    from tasks.bench.orchestrate import orchestrate as measure

    with err.status("starting") as status:
        found = measure(utterances, status.update)
    show_orchestration(found, as_json=as_json)
