"""Tries every port of a closed `meldflow up`, with and without its keys; says what was let in.

``python -m tests.strangers --json`` prints what was tried, port by port, and ends with 1 when
somebody was let in without a key, or a planted secret lies where none belongs.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import socket
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import websockets
from distributed import Security
from distributed.core import rpc

from meldflow.flows.serving.site.home import Home
from meldflow.flows.serving.site.http import ask, client_of
from meldflow.flows.serving.site.services import POOL
from meldflow.storage import open_store
from meldflow.tasks.cluster.certificates import AUTHORITY, NODE, TRUSTED, make, tls
from meldflow.tasks.cluster.environment import dask_variables
from tests import fragile
from tests.flows import command
from tests.flows.servers import OVER, Served, up
from tests.paths import IMPORTS
from tests.rig import texts, wait_until, write_dataset
from tests.storage.kinds import bucket, names, objects, s3_server

PRIVATE = (AUTHORITY, NODE)

SECONDS = 8.0
"""How long an answer may take; silence is none."""

PLANTED = {
    "AWS_ACCESS_KEY_ID": "AKIAPLANTEDPLANTED01",
    "AWS_SECRET_ACCESS_KEY": "planted-secret-of-s3",
    "MLFLOW_TRACKING_PASSWORD": "planted-password-of-mlflow",
}
"""What `up` is given in its environment, as somebody does who keeps a store on S3."""

NOBODY = "00000000-0000-0000-0000-000000000000"

PAGES = (
    *("/", "/ui-settings", "/docs", "/openapi.json", "/health", "/metrics", "/status"),
    *("/json/identity.json", "/info/main/workers.html"),
)
"""What Prefect and Dask show to browsers."""

PUBLIC = (
    *("GET /", "GET /ui-settings", "GET /docs", "GET /openapi.json"),
    *("GET /api/health (200)", "GET /api/ready (200)"),
)
"""What Prefect shows everybody: that it is there, and the pages that ask for the key."""

SOCKETS = (
    *("events/in", "events/out", "logs/out", "task_runs/subscriptions/scheduled"),
    f"work_pools/{POOL}/workers/connect",
)


@dataclass(slots=True, kw_only=True)
class Port:
    """Something of `up` that listens, and what came of the tries on it."""

    service: str
    address: str
    port: int
    reached: bool = False
    """Whether it can be connected to by the machine's address in the network."""
    tries: int = 0
    let_in: list[str] = field(default_factory=list)
    """Without a key."""
    public: list[str] = field(default_factory=list)
    """What is meant for everybody, and says nothing of anybody."""
    with_key: list[str] = field(default_factory=list)
    """What the same tries give with the key, from where the port may be used."""


@dataclass(frozen=True, kw_only=True)
class Closed:
    """A closed `up`, its keys, and those of a stranger."""

    served: Served
    key: str
    certificates: Path
    forged: Path
    """Certificates of another authority."""

    def ports(self) -> list[Port]:
        """All that listens, so that nothing is left out which nobody thought of."""
        found = {
            (where.laddr.port, where.laddr.ip, _service(one))
            for one in self.served.processes()
            for where in one.net_connections("inet")
            if where.status == psutil.CONN_LISTEN
        }
        return [Port(service=name, address=ip, port=port) for port, ip, name in sorted(found)]


def _service(process: psutil.Process) -> str:
    """What a process is called in the table of services; a worker's nanny, and it, bear one."""
    family = [process, *process.parents()]
    for line in (one.cmdline() for one in family):
        for words, name in (
            (("dask", "scheduler"), "dask scheduler"),
            (("dask", "worker"), "dask worker"),
            (("server", "start"), "prefect server"),
            (("prefect", "worker"), "prefect worker"),
        ):
            if all(one in line for one in words):
                return name
    return " ".join(process.cmdline())[:80]


def outer_address() -> str:
    """By which others reach this machine; without a network, an address that others may not."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe, contextlib.suppress(OSError):
        probe.connect(("192.0.2.1", 9))  # nothing is sent
        return str(probe.getsockname()[0])
    return "127.0.0.2"


# Without a key


def try_without(closed: Closed, port: Port, host: str) -> None:
    """Everything that a stranger may come up with, on whatever port."""
    with contextlib.suppress(OSError), socket.create_connection((host, port.port), SECONDS):
        port.reached = True
    tries = [*pages(host, port.port)]
    tries += asyncio.run(comms(host, port.port, greetings(closed.forged)))
    if port.service == "prefect server":
        for key in ("", "meldflow:guess"):
            tries += requests(f"http://{host}:{port.port}", key)
            tries += asyncio.run(sockets(f"ws://{host}:{port.port}/api", key))
    if port.service == "dask scheduler":
        tries += joining(f"{host}:{port.port}", closed.forged)
    port.tries = len(tries)
    inside = [what for what, was_let_in in tries if was_let_in]
    port.public = sorted({one for one in inside if one in PUBLIC})
    port.let_in = [one for one in inside if one not in PUBLIC]


Try = tuple[str, bool]
"""What was tried, and whether it was let in."""


def pages(host: str, port: int) -> Iterator[Try]:
    for page in PAGES:
        url = f"http://{host}:{port}{page}"
        with contextlib.suppress(httpx.HTTPError):
            answer = httpx.get(url, timeout=SECONDS, trust_env=False)
            yield f"GET {page}", answer.is_success
            continue
        yield f"GET {page}", False


def greetings(certificates: Path) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Ways to speak to Dask → scheme, and what the connection is made with."""
    bare = ssl.create_default_context()
    bare.check_hostname, bare.verify_mode = False, ssl.CERT_NONE
    own = Security(
        require_encryption=True,
        tls_client_cert=str(certificates / NODE),
        tls_ca_file=str(certificates / TRUSTED),
    ).get_connection_args("client")
    own["ssl_context"].verify_mode = ssl.CERT_NONE  # whom one attacks, one does not check
    return {
        "in the clear": ("tcp", {}),
        "without a certificate": ("tls", {"ssl_context": bare, "require_encryption": True}),
        "with a certificate": ("tls", own),
    }


async def comms(
    host: str, port: int, ways: Mapping[str, tuple[str, Mapping[str, Any]]]
) -> list[Try]:
    """Whether somebody who speaks Dask's protocol is told anything; all ways at once."""

    async def told(scheme: str, arguments: Mapping[str, Any]) -> bool:
        address = f"{scheme}://{host}:{port}"
        asked = rpc(address, timeout=SECONDS, connection_args=dict(arguments))
        try:
            return bool(await asyncio.wait_for(asked.identity(), SECONDS))
        except (OSError, TypeError, ValueError, RuntimeError):
            return False
        finally:
            await asked.close_rpc()

    answers = await asyncio.gather(*(told(*way) for way in ways.values()))
    return [(f"Dask, {way}", one) for way, one in zip(ways, answers, strict=True)]


def joining(scheduler: str, forged: Path) -> Iterator[Try]:
    """Workers that want to take part."""
    options = ("--no-nanny", "--name", "stranger", "--death-timeout", "8", "--no-dashboard")
    own = dask_variables(tls(forged))
    for scheme, variables in (("tcp", {}), ("tls", own)):
        done = subprocess.run(
            [sys.executable, "-P", "-m", "dask", "worker", f"{scheme}://{scheduler}", *options],
            env={**os.environ, **variables, "NO_COLOR": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        yield f"worker, {scheme}", "Registered to" in done.stderr


def requests(server: str, key: str) -> Iterator[Try]:
    """All that an API can be asked, as it describes itself to everybody."""
    known = httpx.get(f"{server}/openapi.json", timeout=60, trust_env=False).json()["paths"]
    auth = httpx.BasicAuth(*key.split(":")) if key else None
    with httpx.Client(auth=auth, timeout=60, trust_env=False) as client:
        for path, methods in known.items():
            for method in map(str.upper, methods):
                url = "/".join(NOBODY if one.startswith("{") else one for one in path.split("/"))
                status = client.request(method, f"{server}/api{url}", json={}).status_code
                yield f"{method} /api{url} ({status})", status != httpx.codes.UNAUTHORIZED


async def sockets(api: str, key: str) -> list[Try]:
    """Web sockets, of which each takes events from or sends them to whoever is on it."""
    found = []
    for path in SOCKETS:
        for greeting in (None, {"type": "auth", "token": key}):
            protocols = [websockets.Subprotocol("prefect")] if greeting else None
            inside = False
            with contextlib.suppress(OSError, websockets.WebSocketException):
                async with websockets.connect(
                    f"{api}/{path}", subprotocols=protocols, open_timeout=SECONDS, proxy=None
                ) as connection:
                    await connection.send(json.dumps(greeting or {}))
                    try:
                        said = json.loads(await asyncio.wait_for(connection.recv(), SECONDS))
                        inside = said.get("type") != "auth_failure"
                    except TimeoutError:
                        inside = True  # nobody shut the door
            found.append((f"WS {path}{' with a token' if greeting else ''}", inside))
    return found


# With the key


def try_with(closed: Closed, port: Port) -> None:
    """That the same doors open, so that the tries are known to be worth something."""
    host = port.address
    ways = {"with a certificate": greetings(closed.certificates)["with a certificate"]}
    tries = asyncio.run(comms(host, port.port, ways))
    if port.service == "prefect server":
        tries += requests_with(closed, f"http://{host}:{port.port}/api")
        tries += asyncio.run(sockets(f"ws://{host}:{port.port}/api", closed.key))
    if port.address == "127.0.0.1":
        tries += pages(host, port.port)
    port.with_key = [what for what, was_let_in in tries if was_let_in]


def requests_with(closed: Closed, api: str) -> Iterator[Try]:
    for path in ("flow_runs/filter", "deployments/filter", "variables/filter"):
        yield f"POST {path}", ask(f"{api}/{path}", {}, closed.key) is not None


# A run, and what it leaves


def extract(closed: Closed, dataset: Path, store: str) -> str:
    """The state that a run of the deployment ends in."""
    only = [one.spec.name for one in fragile.EXTRACTORS]
    options = {"dataset": str(dataset), "store": store, "only": only, "partition": 4}
    with client_of(closed.served.api, closed.key) as client:
        found = client.read_deployment_by_name("extract/extract")
        run = client.create_flow_run_from_deployment(found.id, parameters={"options": options})

        def is_over() -> bool:
            state = client.read_flow_run(run.id).state
            return state is not None and state.type.value in OVER

        wait_until(is_over, 240, "the run is over")
        state = client.read_flow_run(run.id).state
        return state.type.value if state else ""


def command_lines(served: Served) -> str:
    """What `ps` shows everybody on the machine."""
    return "\n".join(" ".join(one.cmdline()) for one in served.processes())


def places_of(folder: Path, own: tuple[Path, ...]) -> Iterator[tuple[str, bytes]]:
    """All that lies below a folder, but for the files that are made to hold a secret."""
    for file in sorted(folder.rglob("*")):
        if file.is_file() and not any(file == one or one in file.parents for one in own):
            yield str(file.relative_to(folder)), file.read_bytes()


def find_secrets(places: Iterator[tuple[str, bytes]], secrets: Mapping[str, str]) -> list[str]:
    return [
        f"{name} in {place}"
        for place, content in places
        for name, secret in secrets.items()
        if secret.encode() in content
    ]


def attack(folder: Path) -> dict[str, Any]:
    """Starts a closed `up`, has it extract to S3, and tries to get in."""
    host = outer_address()
    known = os.pathsep.join((str(fragile.announce(folder / "extractors")), IMPORTS))
    dataset = write_dataset(folder / "data.csv", texts(8, milliseconds=5))
    make(forged := folder / "forged")
    with s3_server():
        store = bucket(folder)
        environment = {**os.environ, **PLANTED, "PYTHONPATH": known}
        arguments = ("--host", host, "--workers", "1")
        with up(folder, *arguments, environment=environment, host=host) as served:
            home = Home(folder / "home")
            closed = Closed(
                served=served, key=home.key, certificates=home.certificates, forged=forged
            )
            ports = closed.ports()
            for port in ports:
                try_without(closed, port, host)
                try_with(closed, port)
            refused = command.run("runs", cwd=folder, api=served.api, code=2).stderr
            os.environ["MELDFLOW_HOME"] = str(home.path)
            command.run("runs", cwd=folder)  # the user's own `up` needs no telling
            state, lines = extract(closed, dataset, store), command_lines(served)
            said = served.said
        secrets = {**PLANTED, "the key": closed.key, "its password": closed.key.partition(":")[2]}
        kept = (home.key_file, home.certificates, forged)
        places = [
            *places_of(folder, kept),
            ("command lines", lines.encode()),
            ("what up says", said.encode()),
            *((name, bytes(objects().get(name).bytes())) for name in names()),
        ]
        rows = len(open_store(store).rows())
    return {
        "host": host,
        "ports": [asdict(one) for one in ports],
        "run": {"state": state, "rows": rows},
        "refused": refused,
        "secrets": {"planted": sorted(secrets), "places": len(places)}
        | {"found": find_secrets(iter(places), secrets)},
        "modes": {one.name: f"{one.stat().st_mode & 0o777:o}" for one in secret_files(home)},
    }


def secret_files(home: Home) -> list[Path]:
    return [home.key_file, home.certificates, *(home.certificates / one for one in PRIVATE)]


def amiss(found: Mapping[str, Any]) -> list[str]:
    """Whatever should not be so, in a line each."""
    lines = [
        f"{one['service']} {one['address']}:{one['port']} let in: {what}"
        for one in found["ports"]
        for what in one["let_in"]
    ]
    return lines + [f"a secret: {one}" for one in found["secrets"]["found"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print all figures")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="strangers-") as folder:
        found = attack(Path(folder))
    if wanted.json:
        print(json.dumps(found, indent=2))
    else:
        for one in found["ports"]:
            where = f"{one['service']:16} {one['address']}:{one['port']}"
            told = f"{one['tries']} tries, {len(one['let_in'])} let in"
            print(f"{where:40} {told}; with the key {len(one['with_key'])}")
    for line in (lines := amiss(found)):
        print(line, file=sys.stderr)
    sys.exit(bool(lines))


if __name__ == "__main__":
    main()
