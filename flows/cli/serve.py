"""The commands that serve the flows: to people in the Prefect UI, to schedules and to events."""

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import Field

from meldflow.flows.cli.app import SERVING, Answer, command
from meldflow.flows.cli.parameters import Group, options_of
from meldflow.flows.cli.screen.terminal import err, out
from meldflow.flows.serving.defaults import FIELDS, Defaults, make_defaults
from meldflow.models.schema.errors import StoppedError, UsageError
from meldflow.tasks.options import Cli, Options, PollOptions

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

Port = Annotated[int, Field(ge=1, le=65535)]


class Listening(Options):
    """Where `up` listens, and how many workers there are."""

    host: str = "127.0.0.1"
    """Address to listen on; only this machine by default. Another one is closed."""
    closed: bool = False
    """Ask everybody for a key, on this machine as well."""
    port: Port = 4200
    """Port of the Prefect UI."""
    scheduler_port: Port = 8786
    """Port of the Dask scheduler."""
    dashboard_port: Port = 8787
    """Port of the Dask dashboard."""
    workers: int | None = Field(None, ge=1)
    """CPU workers; by default as many as cores and memory allow."""
    home: Annotated[Path | None, Cli(metavar="DIR")] = None
    """Folder for data base, logs and state; by default the user's data folder."""


@command(
    SERVING,
    "meldflow up",
    "meldflow up --dataset MELD.Raw --store store",
    "meldflow up --home /tmp/trial --port 4300 --scheduler-port 8796 --dashboard-port 8797",
)
def up(defaults: Annotated[Defaults, DEFAULTS], listening: Listening) -> None:
    """Serve the flows: Prefect with its UI, Dask with its dashboard, deployments; until Ctrl-C."""
    from meldflow.flows.serving.site import services
    from meldflow.flows.serving.site.home import Home, default_home, open_home
    from meldflow.flows.serving.site.settings import no_proxy
    from meldflow.flows.serving.site.supervisor import supervising
    from meldflow.tasks.dataset import check_source

    def say(line: str) -> None:
        err.print(line, markup=False, soft_wrap=True)

    if dataset := defaults.values.get("dataset"):
        check_source(Path(dataset))
    home = Home((listening.home or default_home()).absolute())
    site = services.Site(home=home, **listening.model_dump(exclude={"home"}))
    try:
        with open_home(home.path, site.api), supervising(say) as supervisor:
            site.check()  # after the home: what holds the port may be another `up` on it
            is_new = site.close()
            os.environ.update(no_proxy(site.contact))
            site.write_profile()
            say("starting the Prefect server and the Dask cluster")
            supervisor.launch(services.prefect_server(site), services.dask_scheduler(site))
            supervisor.launch(*services.dask_workers(site))
            supervisor.wait()
            found = _register(site.api, defaults, Path.cwd(), site.key)
            supervisor.launch(services.prefect_worker(site))
            supervisor.wait()
            out.print(f"Prefect UI      {site.ui}")
            out.print(f"Dask dashboard  {site.dashboard}/status")
            if site.key:
                shown = f"{site.key}, in " if is_new and out.is_terminal else ""  # not into a log
                out.print(f"key             {shown}{home.key_file}")
            names = ", ".join(one.name for one in found["deployments"])
            out.print(f"deployments     {names}")
            out.print(f"logs            {home.logs}")
            out.print(
                "Ctrl-C stops everything; runs go on from their last commit when started again."
            )
            supervisor.watch()
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
) -> Answer:
    """Register the deployments, schedules and triggers with a Prefect server that runs already."""
    with err.status("registering"):
        done = _register(api, defaults, (directory or Path()).absolute())
    return Answer(done, _show_registered)


def _register(api: str, defaults: Defaults, directory: Path, key: str = "") -> dict[str, Any]:
    """The API, and the deployments that it knows now."""
    from meldflow.flows.serving.server import connected

    with connected(api, key) as client:
        from meldflow.flows.serving.deployments import register  # which imports the flows

        done = register(client, defaults, directory)
        return {"api": str(client.api_url).rstrip("/"), "deployments": done}


def _show_registered(found: Mapping[str, Any]) -> None:
    for one in found["deployments"]:
        schedules = f"  schedules: {', '.join(one.schedules)}" if one.schedules else ""
        out.print(f"registered {one.name}{schedules}", markup=False)


@command(SERVING, "meldflow certificates tls", "meldflow certificates tls --rotate")
def certificates(
    folder: Annotated[Path, typer.Argument(help="Folder that they are in.", metavar="FOLDER")],
    rotate: Annotated[
        bool, typer.Option("--rotate", help="Renew them; what runs is not disturbed.")
    ] = False,
) -> Answer:
    """Make the certificates by which a Dask cluster and its runs know each other, for a year."""
    from meldflow.tasks.cluster.certificates import AUTHORITY, NODE, TRUSTED, make

    if rotate is not (folder / AUTHORITY).exists():
        why = "none were made here yet" if rotate else "made already; renew them with --rotate"
        raise UsageError(f"certificates {folder}: {why}")
    until = make(folder)
    said = f"valid until {until:%Y-%m-%d}; whoever takes part needs {TRUSTED} and {NODE}"
    found = {"folder": str(folder), "valid_until": until.isoformat()}
    return Answer(found, lambda _: out.print(f"{folder}: {said}", markup=False))


@command(SERVING, "meldflow notify MELD.Raw", "meldflow notify MELD.Raw --store s3://bucket/store")
def notify(options: PollOptions, api: Api = "") -> Answer:
    """Tell the Prefect server that a data set changed; `extract` starts on it."""
    from meldflow.flows.serving.server import connected
    from meldflow.tasks.dataset import check_source

    check_source(options.dataset)
    with connected(api) as client:
        from meldflow.flows.serving.changes import check_reaction, runs_on, tell_changed

        lacking = check_reaction(client, options.store)
        sent = tell_changed(client, options.dataset, options.store)
        with err.status("waiting for the run that it starts"):
            runs = runs_on(client, options.dataset, sent)
    pages = str(client.api_url).rstrip("/").removesuffix("api") + "runs/flow-run"
    found = {"sent": sent.isoformat(), "runs": [one.id for one in runs]}
    return Answer(found, partial(_show_started, pages, lacking))


def _show_started(pages: str, lacking: str, found: Mapping[str, Any]) -> None:
    for run in found["runs"]:
        out.print(f"a run starts{lacking}: {pages}/{run}", markup=False)
    if not found["runs"]:
        out.print("told, but no run has started so far: is the automation in the UI switched on?")
