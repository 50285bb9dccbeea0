"""The commands that serve the flows: to people in the Prefect UI, to schedules and to events."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from meldflow.flows.cli.app import Json, err, example, out
from meldflow.flows.cli.parameters import takes
from meldflow.models.schema.errors import StoppedError

if TYPE_CHECKING:
    from meldflow.flows.serving.defaults import Defaults
    from meldflow.flows.serving.site.services import Site

serve_commands = typer.Typer()

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


def deployment_defaults(
    dataset: Annotated[
        Path | None, typer.Option(help="Data set that the deployments work on by default.")
    ] = None,
    store: Annotated[
        str, typer.Option(help="Store that they work on by default.", show_default=False)
    ] = "",
    report: Annotated[
        Path | None, typer.Option(help="Folder for reports and models by default.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", help="Extractor that is run by default; may be given again."),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            help="Default weights: `pretrained` or `random`, or NAME=WEIGHTS for one extractor; "
            "may be given again.",
            metavar="[NAME=]WEIGHTS",
        ),
    ] = None,
) -> Defaults:
    """What the deployments work on where nobody says otherwise."""
    from meldflow.flows.serving.defaults import make_defaults

    return make_defaults(dataset, store, report, only or (), weights or ())


def site(
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
) -> Site:
    """Where everything listens."""
    from meldflow.flows.serving.site.home import Home, default_home
    from meldflow.flows.serving.site.services import Site

    return Site(
        home=Home((home or default_home()).absolute()),
        host=host,
        port=port,
        scheduler_port=scheduler_port,
        dashboard_port=dashboard_port,
        workers=workers,
    )


@serve_commands.command(
    epilog=example(
        "meldflow up",
        "meldflow up --dataset MELD.Raw --store store",
        "meldflow up --home /tmp/trial --port 4300 --scheduler-port 8796 --dashboard-port 8797",
    )
)
@takes(site=site, defaults=deployment_defaults)
def up(site: Site, defaults: Defaults) -> None:
    """Serve the flows: Prefect with its UI, Dask with its dashboard, deployments; until Ctrl-C."""
    from meldflow.flows.serving.site.up import Shown, serve

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


@serve_commands.command(
    epilog=example(
        "meldflow deploy --dataset /data/MELD.Raw --store /data/store",
        "meldflow deploy --api http://10.0.0.5:4200/api --directory /srv/meldflow",
    )
)
@takes(defaults=deployment_defaults)
def deploy(
    defaults: Defaults,
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

    from meldflow.flows.serving.connection import connected

    with err.status("registering"), connected(api) as url:
        from meldflow.flows.serving.deployments import register

        done = register(defaults, (directory or Path()).absolute())
    if as_json:
        out.print_json(data={"api": url, "deployments": [asdict(one) for one in done]})
        return
    for one in done:
        schedules = f"  schedules: {', '.join(one.schedules)}" if one.schedules else ""
        out.print(f"registered {one.name}{schedules}", highlight=False, markup=False)


@serve_commands.command(
    epilog=example("meldflow notify MELD.Raw", "meldflow notify MELD.Raw --store s3://bucket/store")
)
def notify(
    dataset: Annotated[Path, typer.Argument(help="The data set that changed.", metavar="DATASET")],
    store: Annotated[
        str,
        typer.Option(
            help="Store to extract it to; by default the one of the deployment `extract`.",
            show_default=False,
        ),
    ] = "",
    api: Api = "",
    as_json: Json = False,
) -> None:
    """Tell the Prefect server that a data set changed; `extract` starts on it."""
    from meldflow.flows.serving.changes import check_there
    from meldflow.flows.serving.connection import find_api
    from meldflow.flows.serving.events import check_reaction, runs_on, tell_changed

    dataset = dataset.absolute()
    check_there(dataset)
    url = find_api(api)
    check_reaction(url, store)
    sent = tell_changed(url, dataset, store)
    with err.status("waiting for the run that it starts"):
        runs = runs_on(url, dataset, sent)
    if as_json:
        out.print_json(data={"sent": sent.isoformat(), "runs": [one["id"] for one in runs]})
        return
    for one in runs:
        page = f"{url.removesuffix('/api')}/runs/flow-run/{one['id']}"
        out.print(f"a run starts: {page}", highlight=False, markup=False, soft_wrap=True)
    if not runs:
        out.print("told, but no run has started so far: is the automation in the UI switched on?")
