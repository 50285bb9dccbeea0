"""The files in deploy/: they parse, and their command lines are ones that the programs know."""

from __future__ import annotations

import functools
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect.settings.models.root import Settings
from sqlalchemy import make_url

from meldflow.flows.serving.site.settings import CLIENT_KEY, SERVER_KEY
from meldflow.models.weights.shared import VARIABLE
from meldflow.tasks.cluster.certificates import tls
from meldflow.tasks.cluster.environment import (
    dask_variables,
    scheduler_environment,
    worker_environment,
)
from meldflow.tasks.cluster.kubernetes import Kubernetes
from meldflow.tasks.cluster.profile import load_profile
from tests.paths import ROOT

DEPLOY = ROOT / "deploy"
MANIFESTS = ("base/server.yaml", "base/worker.yaml", "cpu/dask.yaml", "gpu/worker.yaml")
FILES = (
    DEPLOY / "compose.yaml",
    *(DEPLOY / "kubernetes" / name for name in MANIFESTS),
)
DATABASE = "PREFECT_SERVER_DATABASE_"
"""What the names of Prefect's settings for its data base begin with."""
PROGRAMS = {"dask": "dask", "prefect": "prefect", "meldflow": "meldflow.flows.cli.main"}


def documents(file: Path) -> list[Any]:
    return list(yaml.safe_load_all(file.read_text()))


def containers(node: Any) -> Iterator[dict[str, Any]]:
    """Everything that has an image."""
    if isinstance(node, dict):
        if "image" in node:
            yield node
        for value in node.values():
            yield from containers(value)
    elif isinstance(node, list):
        for value in node:
            yield from containers(value)


def lines() -> dict[tuple[str, ...], str]:
    """Command line → a file where it stands."""
    found = {}
    for file in FILES:
        for one in containers(documents(file)):
            line = one.get("command") or one.get("args")
            if line and line[0] in PROGRAMS:
                found[tuple(line)] = file.name
    script = (DEPLOY / "slurm" / "extract.sbatch").read_text()
    (flow,) = re.findall(r"^(meldflow .*) &$", script, re.MULTILINE)
    return found | {tuple(flow.split()): "extract.sbatch"}


def told_of_the_database(password: str) -> dict[str, dict[str, str]]:
    """File → what the Prefect server is told of its data base there."""
    (compose,) = documents(DEPLOY / "compose.yaml")
    given = compose["services"]["server"]["environment"]
    told = {
        "compose.yaml": {k: v.replace("${POSTGRES_PASSWORD}", password) for k, v in given.items()}
    }
    for document in documents(DEPLOY / "kubernetes" / "base" / "server.yaml"):
        for one in containers(document):
            if one["name"] == "server":
                told["server.yaml"] = {e["name"]: e.get("value", password) for e in one["env"]}
    return {
        file: {name: value for name, value in every.items() if "_DATABASE_" in name}
        for file, every in told.items()
    }


@functools.cache
def help_of(program: str, *verbs: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", PROGRAMS[program], *verbs, "--help"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "240", "NO_COLOR": "1"},
    )
    return done.stdout


@pytest.mark.parametrize("line", lines(), ids=lambda line: " ".join(line[:3]))
def test_command_lines_are_known(line: tuple[str, ...]) -> None:
    program, *rest = line
    verbs: list[str] = []
    for word in rest:
        if word.startswith("-") or not word.isidentifier() or len(verbs) == 2:
            break
        verbs.append(word)
    if line[:2] == ("meldflow", "deploy") and "deploy" not in help_of("meldflow"):
        pytest.skip("this meldflow has no `deploy` yet")
    shown = set(re.findall(r"--[a-z][a-z-]*", help_of(program, *verbs)))
    for word in rest:
        if word.startswith("--"):
            assert word in shown, f"{' '.join((program, *verbs))} has no {word}"


def test_every_worker_has_its_environment() -> None:
    found = 0
    for file in FILES:
        for one in containers(documents(file)):
            line = one.get("command") or one.get("args") or []
            if line[:2] == ["dask", "worker"]:
                assert worker_environment(1).items() <= variables(one).items()
                assert line[line.index("--nthreads") + 1] == "1"
                assert "--resources" in line
                found += 1
    assert found == 4


def variables(container: dict[str, Any]) -> dict[str, str]:
    """What a container of compose or of Kubernetes is started with, secrets apart."""
    if "environment" in container:
        return dict(container["environment"])
    folder = DEPLOY / "kubernetes" / "cpu"
    (generated,) = (one["configMapGenerator"] for one in documents(folder / "kustomization.yaml"))
    files = {one["name"]: folder / one["envs"][0] for one in generated if "envs" in one}
    found: dict[str, str] = {}
    for source in container.get("envFrom", ()):
        if "configMapRef" in source:
            text = files[source["configMapRef"]["name"]].read_text()
            found |= dict(re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE))
    return found | {one["name"]: one.get("value", "") for one in container.get("env", ())}


def test_every_scheduler_has_its_environment() -> None:
    """That of `up`: a task that kills its worker is tried once more, no oftener."""
    found = [
        variables(one)
        for file in FILES
        for one in containers(documents(file))
        if (one.get("command") or one.get("args") or [])[:2] == ["dask", "scheduler"]
    ]
    assert len(found) == 2
    for one in found:
        assert scheduler_environment().items() <= one.items()


def test_weights_are_fetched_once_and_then_only_read() -> None:
    """Those who run the networks see them where the flow finds them."""
    (compose,) = documents(DEPLOY / "compose.yaml")
    services, volume = compose["services"], "${MELDFLOW_WEIGHTS:-weights}:/weights"
    assert services["weights"]["command"] == ["meldflow", "weights", "fetch", "/weights"]
    assert services["weights"]["volumes"] == [volume]
    for name in ("cpu-worker", "gpu-worker", "prefect-worker"):
        assert f"{volume}:ro" in services[name]["volumes"]
    pods = [one for file in FILES[1:] for one in containers(documents(file))]
    mount = {"name": "weights", "mountPath": "/weights", "readOnly": True}
    assert sum(mount in one.get("volumeMounts", ()) for one in pods) == len(
        [one for one in pods if one["name"] == "worker"]
    )
    profile = load_profile(str(DEPLOY / "clusters" / "kubernetes.yaml"))
    assert isinstance(profile, Kubernetes)
    assert ("/weights", True) in {(one.path, one.read_only) for one in profile.volumes}
    flows = [one for one in pods if one.get("args", ())[:2] == ["prefect", "worker"]]
    for one in (services["prefect-worker"], *flows):
        assert variables(one)[VARIABLE] == "/weights"
    assert len(flows) == 1


def test_services_of_compose_wait_for_what_they_need() -> None:
    (compose,) = documents(DEPLOY / "compose.yaml")
    services = compose["services"]
    once = {"certificates", "deployments", "weights"}
    for name, service in services.items():
        assert "healthcheck" in service or name in once
        for needed, how in service.get("depends_on", {}).items():
            is_once = how["condition"] == "service_completed_successfully"
            assert is_once if needed in once else "healthcheck" in services[needed]
        for mount in service["volumes"]:
            source = re.sub(r"\$\{\w+:-(\w+)\}", r"\1", mount).partition(":")[0]
            assert source.startswith("$") or source in compose["volumes"]
    profile = yaml.safe_load(compose["configs"]["cluster"]["content"])
    assert profile["address"] in services["cpu-worker"]["command"]


def test_compose_is_closed() -> None:
    """Dask asks for certificates, Prefect for a key, and no secret stands in the file."""
    (compose,) = documents(DEPLOY / "compose.yaml")
    services, folder = compose["services"], Path("/tls")
    for name in ("scheduler", "cpu-worker", "gpu-worker"):
        assert dask_variables(tls(folder)).items() <= services[name]["environment"].items()
        assert f"tls:{folder}:ro" in services[name]["volumes"]
    profile = yaml.safe_load(compose["configs"]["cluster"]["content"])
    assert (profile["tls"], profile["address"]) == (str(folder), "tls://scheduler:8786")
    assert f"tls:{folder}:ro" in services["prefect-worker"]["volumes"]
    assert f"meldflow certificates {folder} " in services["certificates"]["command"][-1]
    assert services["server"]["environment"][SERVER_KEY].startswith("${MELDFLOW_KEY:?")
    for name in ("deployments", "prefect-worker"):
        assert services[name]["environment"][CLIENT_KEY] == "${MELDFLOW_KEY}"
    open_ports = [one for service in services.values() for one in service.get("ports", ())]
    assert sorted(open_ports) == ["${LISTEN:-127.0.0.1}:4200:4200", "127.0.0.1:8787:8787"]


def test_manifests_name_hosts_that_are_there() -> None:
    every = [one for file in FILES[1:] for one in documents(file)]
    services = {one["metadata"]["name"] for one in every if one["kind"] == "Service"}
    text = "\n".join(file.read_text() for file in FILES[1:])
    hosts = re.findall(r"(?:http|tls)://([a-z]+):|_HOST, value: ([a-z]+)", text)
    assert {"".join(host) for host in hosts} == services == {"database", "scheduler", "server"}


@pytest.mark.parametrize("file", ["compose.yaml", "server.yaml"])
def test_the_password_of_the_database_may_hold_any_character(
    file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    password = "p@ss/w#rd%2F:$&+ \"'?"
    for name, value in told_of_the_database(password)[file].items():
        monkeypatch.setenv(name, value)
    url = Settings().server.database.connection_url
    assert url is not None
    named = make_url(url.get_secret_value())
    where = (named.username, named.password, named.host, named.port, named.database)
    assert where == ("prefect", password, "database", 5432, "prefect")


def test_the_image_is_built_from_the_lock_and_by_nobody_special() -> None:
    image = (DEPLOY / "Dockerfile").read_text()
    assert "pip install --constraints requirements.lock -r pyproject.toml --all-extras" in image
    assert "--no-verify-hashes" not in image
    assert "\nUSER 1000:1000\n" in image
    for copied in re.findall(r"^COPY ([^-].*) \S+$", image, re.MULTILINE):
        assert all((ROOT / name).exists() for name in copied.split())
    context = (DEPLOY / "Dockerfile.dockerignore").read_text()
    for name in re.findall(r"^!(.*)$", context, re.MULTILINE):
        assert (ROOT / name).exists()


def test_the_health_of_a_container_is_that_of_its_service() -> None:
    """Where the image looks is where each service of the files is asked whether it is well."""
    source = (DEPLOY / "healthcheck.py").read_text()
    places = dict(re.findall(r'\("(\w+", "\w+)"\): "(\d+/[\w/]+)"', source))
    found = 0
    for file in FILES:
        for one in containers(documents(file)):
            line = one.get("command") or one.get("args") or [""]
            place = places.get('", "'.join(line[:2]))
            probes = [one[p]["httpGet"] for p in one if p.endswith("Probe") and "httpGet" in one[p]]
            for probe in probes:
                assert f"{probe['port']}{probe['path']}" == place
            if "healthcheck" in one and place:
                assert f"127.0.0.1:{place}'" in one["healthcheck"]["test"][-1]
            found += place is not None
    assert found == 10
