"""`meldflow up`: everything that serves the flows, from the first process to the last."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from meldflow.flows.serving.defaults import Defaults
from meldflow.flows.serving.server import connected
from meldflow.flows.serving.site import services
from meldflow.flows.serving.site.home import open_home
from meldflow.flows.serving.site.services import Site
from meldflow.flows.serving.site.supervisor import supervising


def serve(
    site: Site,
    defaults: Defaults,
    *,
    directory: Path,
    say: Callable[[str], None],
    show: Callable[[Sequence[str]], None],
) -> None:
    """Starts everything, registers everything, looks after it until the process is stopped.

    Args:
        site: where everything listens.
        defaults: what the deployments work on where nobody says otherwise.
        directory: the folder that relative paths in forms are meant from.
        say: told in one line of everything that happens.
        show: told the names of the deployments once, when all is up.

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
        from meldflow.flows.serving.deployments import register  # which imports the flows

        with connected(site.api) as client:
            deployments = register(client, defaults, directory)
        supervisor.launch(services.prefect_worker(site))
        supervisor.wait()
        show([one.name for one in deployments])
        supervisor.watch()
