"""The commands that serve the flows: to people in the Prefect UI, to schedules and to events."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from meldflow.flows.cli.app import SERVING, Json, command, err, out
from meldflow.flows.cli.parameters import Group, options_of
from meldflow.flows.serving.defaults import FIELDS, Defaults, make_defaults
from meldflow.models.schema.errors import StoppedError
from meldflow.tasks.options import PollOptions

DEFAULTS = Group(
    [
        one.optional()
        for model, names in FIELDS.items()
        for one in options_of(model)
        if one.name in names
    ],
    make_defaults,
    "Defaults of the deployments",
)

Api = Annotated[
    str,
    typer.Option(
        "--api",
        help="The Prefect API; by default what PREFECT_API_URL names, else that of `meldflow up` "
        "on this machine, http://127.0.0.1:4200/api.",
        metavar="URL",
        show_default=False,
    ),
]


@command(
    SERVING,
    "meldflow up",
    "meldflow up --dataset MELD.Raw --store store",
    "meldflow up --home /tmp/trial --port 4300 --scheduler-port 8796 --dashboard-port 8797",
)
def up(
    defaults: Annotated[Defaults, DEFAULTS],
    host: Annotated[
        str, typer.Option(help="Address to listen on; only this machine by default.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Prefect UI.")] = 4200,
    scheduler_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the Dask scheduler.")
    ] = 8786,
    dashboard_port: Annotated[
        int, typer.Option(min=1, max=65535, help="Port of the Dask dashboard.")
    ] = 8787,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="CPU workers; by default as many as cores and memory allow."),
    ] = None,
    home: Annotated[
        Path | None,
        typer.Option(
            help="Folder for data base, logs and state; by default the user's data folder.",
            metavar="DIR",
        ),
    ] = None,
) -> None:
    """Serve the flows: Prefect with its UI, Dask with its dashboard, deployments; until Ctrl-C."""
    from meldflow.flows.serving.site.home import Home, default_home
    from meldflow.flows.serving.site.services import Site
    from meldflow.flows.serving.up import Shown, serve

    site = Site(
        home=Home((home or default_home()).absolute()),
        host=host,
        port=port,
        scheduler_port=scheduler_port,
        dashboard_port=dashboard_port,
        workers=workers,
    )

    def say(line: str) -> None:
        err.print(line, highlight=False, markup=False, soft_wrap=True)

    def show(shown: Shown) -> None:
        out.print(f"Prefect UI      {shown.ui}", highlight=False)
        out.print(f"Dask dashboard  {shown.dashboard}/status", highlight=False)
        out.print(f"deployments     {', '.join(shown.deployments)}", highlight=False)
        out.print(f"logs            {shown.logs}", highlight=False, soft_wrap=True)
        out.print("Ctrl-C stops everything; runs go on from their last commit when started again.")

    try:
        serve(site, defaults, directory=Path.cwd(), say=say, show=show)
    except KeyboardInterrupt:
        raise StoppedError("stopped") from None


@command(
    SERVING,
    "meldflow deploy --dataset /data/MELD.Raw --store /data/store",
    "meldflow deploy --api http://10.0.0.5:4200/api --directory /srv/meldflow",
)
def deploy(
    defaults: Annotated[Defaults, DEFAULTS],
    api: Api = "",
    directory: Annotated[
        Path | None,
        typer.Option(
            help="Folder on the worker's machine that relative paths are meant from; this one by "
            "default.",
            metavar="DIR",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Register the deployments, schedules and triggers with a Prefect server that runs already."""
    from dataclasses import asdict

    from meldflow.flows.serving.server import connected

    with err.status("registering"), connected(api) as client:
        from meldflow.flows.serving.deployments import register

        done = register(client, defaults, (directory or Path()).absolute())
    if as_json:
        out.print_json(
            data={
                "api": str(client.api_url).rstrip("/"),
                "deployments": [asdict(one) for one in done],
            }
        )
        return
    for one in done:
        schedules = f"  schedules: {', '.join(one.schedules)}" if one.schedules else ""
        out.print(f"registered {one.name}{schedules}", highlight=False, markup=False)


@command(SERVING, "meldflow notify MELD.Raw", "meldflow notify MELD.Raw --store s3://bucket/store")
def notify(options: PollOptions, api: Api = "", as_json: Json = False) -> None:
    """Tell the Prefect server that a data set changed; `extract` starts on it."""
    from meldflow.flows.serving.changes import check_there
    from meldflow.flows.serving.server import connected

    check_there(options.dataset)
    with connected(api) as client:
        from meldflow.flows.serving.events import check_reaction, runs_on, tell_changed

        check_reaction(client, options.store)
        sent = tell_changed(client, options.dataset, options.store)
        with err.status("waiting for the run that it starts"):
            runs = runs_on(client, options.dataset, sent)
    if as_json:
        out.print_json(data={"sent": sent.isoformat(), "runs": [str(one.id) for one in runs]})
        return
    for one in runs:
        page = str(client.api_url).rstrip("/").removesuffix("api") + f"runs/flow-run/{one.id}"
        out.print(f"a run starts: {page}", highlight=False, markup=False, soft_wrap=True)
    if not runs:
        out.print("told, but no run has started so far: is the automation in the UI switched on?")
