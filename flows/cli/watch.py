"""The commands about runs: which there are, and what one of them is doing now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from meldflow.flows.cli.app import SERVING, Answer, command
from meldflow.models.schema.errors import StoppedError, UsageError
from meldflow.tasks.options import Cli, Options
from meldflow.tasks.options.fields import OneOf

if TYPE_CHECKING:
    from meldflow.flows.serving.runs import RunView

STATES = (
    *("scheduled", "pending", "running", "paused", "cancelling"),
    *("completed", "failed", "crashed", "cancelled"),
)
"""Types of states of a run."""


class Filter(Options):
    """Which of the Prefect server's runs."""

    flow: Literal["", "extract", "train", "pipeline", "audit", "maintain", "poll"] = ""
    """Only those of this flow."""
    state: Annotated[str, OneOf(("", *STATES))] = ""
    """Only those in this state; by default all but those that are only scheduled, and polls that
    saw nothing new."""
    store: Annotated[str, Cli(metavar="PATH")] = ""
    """Only those on this store: its path or address, or the end of it."""


@command(
    SERVING,
    "meldflow runs",
    "meldflow runs --flow extract --state failed --store store",
    "meldflow runs --limit 50 --json",
    "meldflow runs store",
)
def runs(
    made: Annotated[
        str | None,
        typer.Argument(
            help="List the runs that made this store, with the load of their workers, instead of "
            "those that the Prefect server knows.",
            metavar="STORE",
        ),
    ] = None,
    *,
    chosen: Filter,
    limit: Annotated[int, typer.Option(min=1, max=200, help="The newest so many.")] = 20,
) -> Answer:
    """List runs: those of the Prefect server, or those that made a store."""
    from meldflow.flows.cli.screen import watch

    if made is not None:
        from meldflow.storage import open_store
        from meldflow.tasks.watching.recorded import recorded_runs

        if chosen != Filter():
            raise UsageError("--flow, --state, --store choose among the Prefect server's runs")
        return Answer(recorded_runs(open_store(made), limit), watch.show_recorded)
    from meldflow.flows.serving.runs import prefect_server_in_use

    with prefect_server_in_use() as server:
        found = server.runs(limit, chosen.flow, chosen.state.upper(), chosen.store)
        return Answer(found, watch.show_runs)


@command(SERVING, "meldflow watch", "meldflow watch extract-store", "meldflow watch ID --json")
def watch(
    run: Annotated[
        str | None,
        typer.Argument(
            help="Name of a run, what it begins with, or its id; by default the newest run, but "
            "no poll.",
            metavar="RUN",
        ),
    ] = None,
    interval: Annotated[
        float, typer.Option(min=0.5, max=60, help="Between two looks, seconds.")
    ] = 2.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON whenever something changed.")
    ] = False,
) -> None:
    """Follow a run to its end: progress, failures, retries, load of the workers.

    Exit code: 0 if it completed, 1 if it failed or crashed, 130 if it was cancelled.
    """
    from meldflow.flows.cli.screen import watch
    from meldflow.flows.serving.runs import ENDS, prefect_server_in_use

    with prefect_server_in_use() as server, watch.following(as_json=as_json) as show:
        try:
            last: RunView = server.follow(server.find(run), interval, show)
        except KeyboardInterrupt:
            raise StoppedError("stopped watching; the run goes on") from None
    raise typer.Exit(ENDS[last.run.kind])
