"""The Kubernetes profile: what it asks the operator for, and an API server that records it."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.resources
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.cluster import kubernetes
from meldflow.tasks.cluster.certificates import make, tls, trusting
from meldflow.tasks.cluster.connection import open_cluster
from meldflow.tasks.cluster.environment import dask_variables
from meldflow.tasks.cluster.kubernetes import GpuWorkers, Kubernetes
from meldflow.tasks.cluster.profile import Adaptive, load_profile
from tests.deploy.manifests import FOLDER, kustomization, named, restricted
from tests.paths import ROOT
from tests.tasks.cluster.processes import scheduler

GROUP = "kubernetes.dask.org"
KINDS = {"daskclusters": "DaskCluster", "daskworkergroups": "DaskWorkerGroup"}


def deployed() -> Kubernetes:
    profile = load_profile(str(ROOT / "deploy" / "clusters" / "kubernetes.yaml"))
    assert isinstance(profile, Kubernetes)
    assert profile.tls == Path("/tls")
    return profile.model_copy(update={"tls": None})  # certificates that are not here


GPU = GpuWorkers(pods=3, threads=4, memory="16Gi", node_selector={"gpu": "a100"})


def with_gpus() -> Kubernetes:
    more = {"device": "cuda", "gpu": GPU, "secrets": ("s3",), "pull_secret": "registry"}
    return deployed().model_copy(update=more)


def schema(kind: str) -> dict[str, Any]:
    """The operator's own schema, with unknown fields refused instead of dropped."""
    operator = importlib.resources.files("dask_kubernetes") / "operator" / "deployment" / "helm"
    file = operator / "dask-kubernetes-operator" / "crds" / f"{kind}.yaml"
    definition = yaml.safe_load(file.read_text())
    closed: dict[str, Any] = _closed(definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    closed["properties"] |= {name: {} for name in ("apiVersion", "kind", "metadata")}
    return closed


def _closed(node: Any) -> Any:
    if isinstance(node, list):
        return [_closed(one) for one in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if "x-kubernetes-int-or-string" in node:
        return {"type": ["integer", "string"]}
    if isinstance(node.get("properties"), dict) and "type" in node:
        closed["additionalProperties"] = False
    return closed


def test_the_manifests_are_what_the_operator_describes() -> None:
    profile = with_gpus()
    cluster = profile.cluster_manifest("meldflow-x")
    jsonschema.validate(cluster, schema("daskcluster"))
    group = {"spec": {"cluster": "meldflow-x", "worker": profile.gpu_workers("meldflow-x", GPU)}}
    jsonschema.validate(group, schema("daskworkergroup"))
    wrong = profile.cluster_manifest("meldflow-x")
    wrong["spec"]["worker"]["spec"]["container"] = []
    with pytest.raises(jsonschema.ValidationError, match="container"):
        jsonschema.validate(wrong, schema("daskcluster"))


def test_gpu_pods_take_the_networks() -> None:
    profile = with_gpus()
    cpu = profile.cluster_manifest("x")["spec"]["worker"]
    gpu = profile.gpu_workers("x", GPU)
    assert (cpu["replicas"], gpu["replicas"]) == (4, 3)
    (cpu_container,), (gpu_container,) = cpu["spec"]["containers"], gpu["spec"]["containers"]
    assert option(cpu_container, "--resources") == "cpu=1"
    assert option(gpu_container, "--resources") == "model=1"
    assert option(gpu_container, "--memory-limit") == "16Gi"
    with pytest.raises(UsageError, match="no group `gpu`"):
        deployed().model_copy(update={"device": "cuda"}).check()
    assert gpu_container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert "nvidia.com/gpu" not in cpu_container["resources"]["limits"]
    assert {"name": "OMP_NUM_THREADS", "value": "4"} in gpu_container["env"]
    assert gpu["spec"]["nodeSelector"] == {"gpu": "a100"}
    assert gpu["spec"]["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists"}]
    assert cpu["spec"]["tolerations"] == []
    alone = deployed().cluster_manifest("x")["spec"]["worker"]["spec"]["containers"][0]
    assert option(alone, "--resources") == "cpu=1 model=1"


@pytest.mark.parametrize("folder", [None, Path("/tls")])
def test_pods_keep_to_the_restricted_profile(folder: Path | None) -> None:
    """Which the namespace enforces: with the user of the image, whose group the volumes get."""
    profile = with_gpus().model_copy(update={"tls": folder})
    cluster = profile.cluster_manifest("x")["spec"]
    for pod in (cluster["scheduler"], cluster["worker"], profile.gpu_workers("x", GPU)):
        assert restricted(pod["spec"]) == []
        (user,) = re.findall(r"^USER (\d+):\1$", (ROOT / "deploy" / "Dockerfile").read_text(), re.M)
        assert pod["spec"]["securityContext"]["fsGroup"] == int(user)
    (namespace,) = [one for one in named(FOLDER / "operator") if one["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    assert "patches" not in kustomization(FOLDER / "operator")


def test_pods_have_the_certificates(tmp_path: Path) -> None:
    profile = with_gpus().model_copy(update={"tls": Path("/etc/meldflow/tls")})
    cluster = profile.cluster_manifest("x")
    jsonschema.validate(cluster, schema("daskcluster"))
    pods = [cluster["spec"]["scheduler"]["spec"], cluster["spec"]["worker"]["spec"]]
    pods.append(profile.gpu_workers("x", GPU)["spec"])
    for pod in pods:
        assert {"name": "tls", "secret": {"secretName": "meldflow-tls"}} in pod["volumes"]
        (container,) = pod["containers"]
        (mount,) = [one for one in container["volumeMounts"] if one["name"] == "tls"]
        assert (mount["mountPath"], mount["readOnly"]) == ("/etc/meldflow/tls", True)
        told = {one["name"]: one["value"] for one in container["env"]}
        assert dask_variables(tls(Path("/etc/meldflow/tls"))).items() <= told.items()
        address = told.get("DASK_SCHEDULER_ADDRESS")
        assert address == (None if container["name"] == "scheduler" else "tls://x-scheduler:8786")
    with pytest.raises(UsageError, match="speaks no TLS; take `adaptive` or `tls` out"):
        profile.model_copy(
            update={"adaptive": Adaptive(maximum=9), "gpu": None, "device": "cpu"}
        ).check()


def test_what_asks_the_scheduler_shows_a_certificate(tmp_path: Path) -> None:
    """Of dask-kubernetes, which knows no TLS: against a scheduler that asks for one."""
    make(folder := tmp_path / "tls")
    with scheduler(tmp_path, dask_variables(tls(folder))) as running:
        address = running.address.replace("tcp", "tls")
        with trusting(folder):
            kubernetes._kube_cluster()
            networking = importlib.import_module("dask_kubernetes.operator.networking")
            asyncio.run(asyncio.wait_for(networking.wait_for_scheduler_comm(address), 30))


def test_the_operator_is_asked_to_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []

    class Pods(contextlib.nullcontext[None]):
        """Stands in for pods that are up, of which there are none here."""

        def __init__(self, **_: object) -> None:
            super().__init__()

        def adapt(self, minimum: int, maximum: int) -> None:
            asked.append((minimum, maximum))

    monkeypatch.setattr(kubernetes, "_kube_cluster", lambda: Pods)
    monkeypatch.setattr(kubernetes, "_ask_for_operator", lambda: None)
    elastic = deployed().model_copy(update={"adaptive": Adaptive(minimum=2, maximum=9)})
    for profile in (deployed(), elastic):
        with profile.open():
            pass
    assert asked == [(2, 9)]
    assert (deployed().most, elastic.most) == (0, 9)
    documents = yaml.safe_load_all(
        (ROOT / "deploy" / "kubernetes" / "operator" / "role.yaml").read_text()
    )
    (rules,) = [one["rules"] for one in documents if one["kind"] == "Role"]
    assert "daskautoscalers" in rules[0]["resources"], "which a run asks for, like the cluster"
    with pytest.raises(UsageError, match="scales workers that are all alike"):
        with_gpus().model_copy(update={"adaptive": Adaptive(maximum=9)}).check()


def option(container: dict[str, Any], name: str) -> Any:
    """What the worker's command line says of an option."""
    return container["args"][container["args"].index(name) + 1]


class Api(ThreadingHTTPServer):
    """A Kubernetes API of which only the beginning is there."""

    operator = True
    created: list[dict[str, Any]]


class _Handler(BaseHTTPRequestHandler):
    server: Api

    def do_GET(self) -> None:
        groups = [GROUP] if self.server.operator else []
        version = {"groupVersion": f"{GROUP}/v1", "version": "v1"}
        resources = [
            {"name": name, "kind": kind, "namespaced": True, "singularName": name[:-1]}
            for name, kind in KINDS.items()
        ]
        answers: dict[str, Any] = {
            "/version": {"major": "1", "minor": "32", "gitVersion": "v1.32.0"},
            "/api": {"versions": ["v1"]},
            "/api/v1": {"resources": []},
            "/apis": {"groups": [{"name": one, "versions": [version]} for one in groups]},
            f"/apis/{GROUP}/v1": {"resources": resources},
        }
        path = self.path.partition("?")[0].rstrip("/")
        self.answer(200 if path in answers else 404, answers.get(path, {"message": "not found"}))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.created.append(json.loads(body))
        self.answer(403, {"message": "exceeded quota: pods", "code": 403, "kind": "Status"})

    def answer(self, code: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def api(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with Api(("127.0.0.1", 0), _Handler) as server:
        server.created = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        configure(tmp_path, monkeypatch, f"http://127.0.0.1:{server.server_port}")
        yield server
        server.shutdown()


def configure(folder: Path, monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me"}}],
        "clusters": [{"name": "here", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "none"}}],
    }
    (folder / "config").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(folder / "config"))
    kr8s = importlib.import_module("kr8s._api")
    monkeypatch.setattr(kr8s.Api, "_instances", {})  # connections to an earlier test's server


def refusal(profile: Kubernetes) -> str:
    with pytest.raises(UsageError) as refused, open_cluster(profile):
        pass
    line = str(refused.value)
    assert "\n" not in line
    return line


def test_the_operator_is_asked_and_its_no_is_passed_on(api: Api) -> None:
    assert "exceeded quota: pods" in refusal(with_gpus())
    created, *_ = api.created  # a 403 is tried again with fresh credentials
    name = created["metadata"]["name"]
    expected = with_gpus().cluster_manifest(name)
    assert created["spec"] == expected["spec"]


def test_without_the_operator(api: Api) -> None:
    api.operator = False
    assert "has no Dask operator; install it (docs/clusters.md)" in refusal(deployed())
    assert not api.created


def test_without_a_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    assert f"mend {tmp_path / 'none'}, or start the run in a pod" in refusal(deployed())
    configure(tmp_path, monkeypatch, "http://127.0.0.1:1")
    assert "no cluster answers" in refusal(deployed())
