"""`meldflow up`: everything that serves the flows, from the first process to the last."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from meldflow.flows.serving.defaults import Defaults
from meldflow.flows.serving.server import connected
from meldflow.flows.serving.site import services
from meldflow.flows.serving.site.home import open_home
from meldflow.flows.serving.site.services import Site
from meldflow.flows.serving.site.supervisor import supervising


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a person wants to know once all is up."""

    ui: str
    dashboard: str
    deployments: tuple[str, ...]
    logs: Path


def serve(
    site: Site,
    defaults: Defaults,
    *,
    directory: Path,
    say: Callable[[str], None],
    show: Callable[[Shown], None],
) -> None:
    """Starts everything, registers everything, looks after it until the process is stopped.

    Args:
        site: where everything listens.
        defaults: what the deployments work on where nobody says otherwise.
        directory: the folder that relative paths in forms are meant from.
        say: told in one line of everything that happens.
        show: told once, when all is up.

    Raises:
        UsageError: a port is taken, or the home is in use or cannot be written.
        RunError: something does not start.
        KeyboardInterrupt: it was stopped; nothing is left running.
    """
    with open_home(site.home.path, site.api), supervising(say) as supervisor:
        site.check()  # after the home: what holds the port may be another `up` on it
        site.write_profile()
        say("starting the Prefect server and the Dask cluster")
        supervisor.launch(services.prefect_server(site), services.dask_scheduler(site))
        supervisor.launch(*services.dask_workers(site))
        supervisor.wait()
        names = _register(site.api, defaults, directory)
        supervisor.launch(services.prefect_worker(site))
        supervisor.wait()
        logs = site.home.log("any").parent
        show(Shown(ui=site.ui, dashboard=site.dashboard, deployments=names, logs=logs))
        supervisor.watch()


def _register(api: str, defaults: Defaults, directory: Path) -> tuple[str, ...]:
    from meldflow.flows.serving.deployments import register

    with connected(api) as client:
        return tuple(one.name for one in register(client, defaults, directory))
