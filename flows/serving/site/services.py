"""The processes of `meldflow up`, as a table."""

import os
import secrets
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from meldflow.flows.serving.site import settings
from meldflow.flows.serving.site.home import Home
from meldflow.flows.serving.site.http import answers, ask
from meldflow.models.files import write_atomically
from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster import environment
from meldflow.tasks.cluster.certificates import make, tls
from meldflow.tasks.cluster.local import Local, visible_gpus, worker_bytes
from meldflow.tasks.cluster.profile import VARIABLE

POOL = "meldflow"
"""The work pool that all deployments run in."""

ANYWHERE = ("0.0.0.0", "::")
"""Hosts that mean every address of the machine; whoever connects needs one of them."""

_PYTHON = (sys.executable, "-P", "-m")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    log: Path
    is_ready: Callable[[], bool]
    """Whether it does its work; asked again and again after a start."""
    stop_seconds: float = 15.0
    """How long it may take to end when asked to."""
    ends_last: bool = False
    """Whether what it has started is asked to end before itself, within that time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """Where everything listens, and how many workers there are."""

    home: Home
    host: str = "127.0.0.1"
    port: int = 4200
    scheduler_port: int = 8786
    dashboard_port: int = 8787
    closed: bool = False
    """Whether everybody has to show a key; so it is wherever others reach it, or one is given."""
    workers: int | None = None
    """CPU workers; None for as many as cores and memory allow."""
    gpus: tuple[str, ...] = field(default_factory=lambda: tuple(visible_gpus()))

    @property
    def contact(self) -> str:
        """The host as others, and the services among themselves, reach it."""
        return "127.0.0.1" if self.host in ANYWHERE else self.host

    @property
    def ui(self) -> str:
        """The Prefect UI."""
        return f"http://{self.contact}:{self.port}"

    @property
    def api(self) -> str:
        """The Prefect API."""
        return f"{self.ui}/api"

    @property
    def is_closed(self) -> bool:
        """Whether the Prefect server asks for a key, and Dask for a certificate."""
        return (
            self.closed or self.host not in settings.LOOPBACK or settings.SERVER_KEY in os.environ
        )

    @property
    def key(self) -> str:
        """What the Prefect server asks for; empty where it is open."""
        return self.home.key if self.is_closed else ""

    @property
    def tls(self) -> Mapping[str, str]:
        """What Dask asks for, as variables; none where it is open."""
        return environment.dask_variables(tls(self.home.certificates)) if self.is_closed else {}

    @property
    def scheduler(self) -> str:
        """The Dask scheduler."""
        scheme = "tls" if self.is_closed else "tcp"
        return f"{scheme}://{self.contact}:{self.scheduler_port}"

    @property
    def dashboard(self) -> str:
        """The Dask dashboard, which asks nobody who they are: on this machine alone."""
        return f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def cpu_workers(self) -> int:
        """CPU workers to start.

        Raises:
            UsageError: they would have more threads than the machine has cores.
        """
        local = Local(kind="local", workers=self.workers, gpus=len(self.gpus))
        return local.worker_count()

    def close(self) -> bool:
        """Makes key and certificates where they are asked for; gives whether the key is new.

        Raises:
            UsageError: they cannot be written to the home.
        """
        if not self.is_closed:
            return False
        make(self.home.certificates)  # anew: nobody has to think of it for a year
        given = os.environ.get(settings.SERVER_KEY, "")
        made = not given and not self.home.key
        if made or given:
            key = given or f"meldflow:{secrets.token_urlsafe(32)}"
            write_atomically(self.home.key_file, key.encode(), mode=0o600)
        return made

    def check(self) -> None:
        """Finds out what is wrong before anything is started.

        Raises:
            UsageError: a port is taken, the host is none, or there are too many workers.
        """
        _ = self.cpu_workers
        options = {
            "--port": (self.host, self.port),
            "--scheduler-port": (self.host, self.scheduler_port),
            "--dashboard-port": ("127.0.0.1", self.dashboard_port),
        }
        ports = [port for _, port in options.values()]
        for option, (host, port) in options.items():
            if ports.count(port) > 1:
                raise UsageError(f"port {port}: {option} and another option both name it")
            _check_port(host, port, option)

    def write_profile(self) -> None:
        """Tells flows which cluster is theirs."""
        profile = {
            "kind": "address",
            "address": self.scheduler,
            "device": "cuda" if self.gpus else "cpu",
            "tls": str(self.home.certificates) if self.is_closed else None,
        }
        write_atomically(self.home.profile, yaml.safe_dump(profile).encode())


def prefect_server(site: Site) -> Service:
    """The API, the UI, the scheduler of runs, and the automations."""
    return Service(
        name="prefect-server",
        command=(
            *(*_PYTHON, "meldflow.flows.serving.site.server", "server", "start"),
            *("--host", site.host, "--port", str(site.port)),
        ),
        environment={
            **settings.QUIET,
            **settings.FRUGAL,
            "PREFECT_HOME": str(site.home.prefect),
            "PREFECT_API_URL": site.api,
            # By the browser's own address, since that may be another than ours.
            "PREFECT_SERVER_UI_API_URL": "/api",
            "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
            **_shown(site, settings.SERVER_KEY, settings.CLIENT_KEY),
        },
        log=site.home.log("prefect-server"),
        is_ready=lambda: answers(site.api),
    )


def dask_scheduler(site: Site) -> Service:
    """Knows the workers and hands out the work."""
    where = ("--host", site.host, "--port", str(site.scheduler_port))
    dashboard = site.dashboard.removeprefix("http://")
    return Service(
        name="dask-scheduler",
        command=(*_PYTHON, "dask", "scheduler", *where, "--dashboard-address", dashboard),
        environment={**environment.scheduler_environment(), **site.tls},
        log=site.home.log("dask-scheduler"),
        is_ready=lambda: ask(f"{site.dashboard}/health") is not None,
    )


def dask_workers(site: Site) -> tuple[Service, ...]:
    """A worker per core, and one per GPU; without GPUs the first offer both roles."""
    roles = environment.roles_of_cpu_workers(len(site.gpus))
    number = site.cpu_workers
    memory = worker_bytes(number + len(site.gpus))
    cpu = (_worker(site, f"cpu-{n}", roles, "", memory) for n in range(number))
    gpu = (_worker(site, f"gpu-{n}", ("model",), one, memory) for n, one in enumerate(site.gpus))
    return (*cpu, *gpu)


def prefect_worker(site: Site) -> Service:
    """Starts a process for every flow run that is due."""
    name = f"{socket.gethostname()}-{site.port}"
    return Service(
        name="prefect-worker",
        command=(
            *(*_PYTHON, "prefect", "worker", "start"),
            *("--pool", POOL, "--name", name, "--type", "process", "--install-policy", "never"),
        ),
        environment={
            **settings.QUIET,
            **settings.PATIENT,
            **environment.NO_SPINNING,
            **environment.SAFE_PATH,
            "PREFECT_HOME": str(site.home.prefect),
            "PREFECT_API_URL": site.api,
            "PREFECT_WORKER_QUERY_SECONDS": "5",
            VARIABLE: str(site.home.profile),
            **_shown(site, settings.CLIENT_KEY),
        },
        log=site.home.log("prefect-worker"),
        is_ready=lambda: _has_polled(site, name),
        stop_seconds=45.0,  # a flow run that is stopped commits first
        ends_last=True,  # it kills its flow runs, which then say to nobody that they are over
    )


def _worker(site: Site, name: str, roles: tuple[str, ...], devices: str, memory: int) -> Service:
    return Service(
        name=f"dask-worker-{name}",
        command=(
            *(*_PYTHON, "dask", "worker", site.scheduler, "--name", name, "--host", site.contact),
            *(
                "--nthreads",
                "1",
                "--resources",
                environment.resources_option(roles),
                "--no-dashboard",
            ),
            *("--dashboard-address", environment.PAGES),
            *("--memory-limit", str(memory)),
            *("--local-directory", str(site.home.dask)),
        ),
        # The nanny prefers what is in the environment to what Dask's configuration says.
        environment={
            **environment.worker_environment(1),
            **site.tls,
            "CUDA_VISIBLE_DEVICES": devices,
        },
        log=site.home.log(f"dask-worker-{name}"),
        is_ready=lambda: name in _workers(site),
    )


def _shown(site: Site, *names: str) -> dict[str, str]:
    """The key by those variables: in an environment others do not see it, in arguments they do."""
    return dict.fromkeys(names, site.key) if site.key else {}


def _workers(site: Site) -> set[str]:
    """Names of the workers that the scheduler knows."""
    answer = ask(f"{site.dashboard}/json/identity.json")
    return {str(one["name"]) for one in answer.json()["workers"].values()} if answer else set()


def _has_polled(site: Site, name: str) -> bool:
    """Whether the Prefect worker has shown itself to the server."""
    answer = ask(f"{site.api}/work_pools/{POOL}/workers/filter", {"limit": 200}, site.key)
    found = answer.json() if answer else []
    return any(one["name"] == name and one["status"] == "ONLINE" for one in found)


def _check_port(host: str, port: int, option: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UsageError(
                f"port {port} of {host}: cannot be used ({error.strerror}); name another with "
                f"{option}"
            ) from error
