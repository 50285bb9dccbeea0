"""deploy/kubernetes, as far as a client can judge it: models, profiles, names, documented steps."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import kubernetes.client as client
import pytest
import yaml

from meldflow.flows.serving.site.settings import CLIENT_KEY, SERVER_KEY
from meldflow.tasks.cluster.certificates import tls
from meldflow.tasks.cluster.environment import dask_variables
from meldflow.tasks.cluster.profile import load_profile
from tests.deploy.manifests import (
    COMPONENTS,
    FOLDER,
    OVERLAYS,
    Manifest,
    kustomization,
    named,
    pods,
    rendered,
    restricted,
)
from tests.paths import ROOT

DOCUMENT = (ROOT / "docs" / "clusters.md").read_text()
MADE = set(re.findall(r"create (?:secret generic|configmap) (?:\\\n\s*)?([\w-]+)", DOCUMENT))
"""What an operator makes by command."""
PRIMITIVES = {"str": str, "bool": bool, "int": int, "object": object}
LASTING = {"Deployment", "StatefulSet"}
SCALARS = (str, int)
"""Amounts are either."""

every = pytest.mark.parametrize("overlay", OVERLAYS)


def unknown(node: Any, kind: str, where: str = "") -> list[str]:
    """What Kubernetes' models of an object do not know, or know otherwise."""
    if found := re.fullmatch(r"[Ll]ist\[(.*)\]", kind):
        if not isinstance(node, list):
            return [f"{where}: no list"]
        return [m for n, one in enumerate(node) for m in unknown(one, found[1], f"{where}[{n}]")]
    if found := re.fullmatch(r"[Dd]ict[\[(]str, (.*)[\])]", kind):
        return [m for k, v in node.items() for m in unknown(v, found[1], f"{where}.{k}")]
    if kind in PRIMITIVES:
        wanted = SCALARS if kind == "object" and not isinstance(node, dict) else PRIMITIVES[kind]
        return [] if isinstance(node, wanted) else [f"{where}: {node!r} is no {kind}"]
    if kind == "datetime":
        return []
    model = getattr(client, kind)
    attributes = {name: attribute for attribute, name in model.attribute_map.items()}
    said = [f"{where}.{name} is unknown to {kind}" for name in node if name not in attributes]
    for name, value in node.items():
        if name in attributes:
            said += unknown(value, model.openapi_types[attributes[name]], f"{where}.{name}")
    return said


def model_of(one: Manifest) -> str:
    version = one["apiVersion"].rpartition("/")[2]
    return f"{version.capitalize()}{one['kind']}"


@every
def test_kubernetes_knows_every_word(overlay: str) -> None:
    for one in named(FOLDER / overlay):
        assert unknown(one, model_of(one)) == [], one["metadata"]["name"]
    wrong = {"containers": [{"name": "x", "resource": {}, "ports": [{"containerPort": "80"}]}]}
    assert unknown(wrong, "V1PodSpec") == [
        ".containers[0].resource is unknown to V1Container",
        ".containers[0].ports[0].containerPort: '80' is no int",
    ]


@every
def test_pods_keep_to_the_restricted_profile_and_to_amounts(overlay: str) -> None:
    for one, spec in pods(named(FOLDER / overlay)):
        assert restricted(spec) == [], one["metadata"]["name"]
        mounted = {v["name"] for v in spec["volumes"] if "emptyDir" in v}
        for container in spec["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert ("tmp", "/tmp") in {
                (m["name"], m["mountPath"]) for m in container["volumeMounts"]
            }
            for amounts in ("requests", "limits"):
                assert {"cpu", "memory"} <= set(container["resources"][amounts])
            if one["kind"] in LASTING:
                assert "livenessProbe" in container
        assert "tmp" in mounted


@pytest.mark.parametrize("folder", [*OVERLAYS, *COMPONENTS])
def test_what_a_folder_names_is_there(folder: str) -> None:
    own = kustomization(FOLDER / folder)
    for name in (*own.get("resources", ()), *own.get("components", ())):
        assert (FOLDER / folder / name).exists()
    for generator in own.get("configMapGenerator", ()):
        for name in (*generator.get("files", ()), *generator.get("envs", ())):
            assert (FOLDER / folder / name).is_file()
    there = [
        o for one in ((folder,) if folder in OVERLAYS else OVERLAYS) for o in named(FOLDER / one)
    ]
    for patch in own.get("patches", ()):
        kind, names = patch["target"]["kind"], patch["target"].get("name", ".*").split("|")
        for name in names:
            assert any(
                one["kind"] == kind and re.fullmatch(name, one["metadata"]["name"]) for one in there
            ), f"{folder} patches no {kind} {name}"


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_profiles_lead_to_the_scheduler(profile: str) -> None:
    found = load_profile(str(FOLDER / profile / "cluster.yaml"))
    services = {o["metadata"]["name"] for o in named(FOLDER / profile) if o["kind"] == "Service"}
    assert re.fullmatch(r"tls://(\w+):8786", found.address)[1] in services  # type: ignore[attr-defined,index]
    assert found.device == {"cpu": "cpu", "gpu": "cuda"}[profile]
    assert found.tls == Path("/tls")


def test_dask_asks_for_certificates() -> None:
    said = (FOLDER / "cpu" / "tls.env").read_text().splitlines()[1:]
    assert dict(one.split("=", 1) for one in said) == dask_variables(tls(Path("/tls")))
    found = 0
    for one, spec in pods(named(FOLDER / "gpu")):
        (container,) = spec["containers"]
        is_dask = container.get("args", ["postgres"])[0] == "dask"
        if is_dask or one["metadata"]["name"] == "prefect-worker":
            assert {"name": "tls", "secret": {"secretName": "meldflow-tls"}} in spec["volumes"]
            mount = {"name": "tls", "mountPath": "/tls", "readOnly": True}
            assert mount in container["volumeMounts"]
        if is_dask:
            assert {"configMapRef": {"name": "dask-tls"}} in container["envFrom"]
            found += 1
    assert found == 3


def test_prefect_asks_for_a_key() -> None:
    shown = {"server": SERVER_KEY, "prefect-worker": CLIENT_KEY, "deployments": CLIENT_KEY}
    for one, spec in pods(named(FOLDER / "base")):
        (container,) = spec["containers"]
        if name := shown.get(one["metadata"]["name"]):
            (key,) = [e for e in container["env"] if e["name"] == name]
            assert key["valueFrom"] == {"secretKeyRef": {"name": "meldflow-key", "key": "key"}}


def references(spec: Manifest) -> set[tuple[str, str]]:
    """Kinds and names of what a pod cannot start without."""
    found = (
        {("ServiceAccount", spec["serviceAccountName"])} if "serviceAccountName" in spec else set()
    )
    for volume in spec.get("volumes", ()):
        if claim := volume.get("persistentVolumeClaim"):
            found.add(("PersistentVolumeClaim", claim["claimName"]))
        if secret := volume.get("secret"):
            found.add(("Secret", secret["secretName"]))
        if config := volume.get("configMap"):
            found.add(("ConfigMap", config["name"]))
    for one in spec["containers"]:
        sources = [e["valueFrom"] for e in one.get("env", ()) if "valueFrom" in e]
        for source in (*one.get("envFrom", ()), *sources):
            for word, kind in (("secret", "Secret"), ("configMap", "ConfigMap")):
                found |= {(kind, v["name"]) for k, v in source.items() if k.startswith(word)}
    return found


def check(objects: list[Manifest]) -> None:
    """Everything that is named is there, or is made by a documented command."""
    there = {(one["kind"], one["metadata"]["name"]) for one in objects}
    assert len(there) == len(objects)
    for one, spec in pods(objects):
        assert one["metadata"]["namespace"] == "meldflow"
        for kind, name in references(spec) - there:
            assert name in MADE, f"{one['metadata']['name']} needs the {kind} {name}"
        assert restricted(spec) == []


@every
def test_an_overlay_is_whole(overlay: str) -> None:
    objects = rendered(FOLDER / overlay)
    if overlay == "fill":  # stands beside another
        objects += rendered(FOLDER / "base")
    check(objects)


def documented() -> list[Manifest]:
    """The overlays of somebody's own in the documentation."""
    return [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)]


def test_an_overlay_of_ones_own(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    (mine := tmp_path / "kubernetes" / "mine").mkdir()
    first, storage, nodes = documented()
    gpu = first | {
        "resources": ["../gpu", "../fill"],
        "components": ["../s3"],
        "patches": storage["patches"] + nodes["patches"],
    }
    for one in (first, gpu):
        (mine / "kustomization.yaml").write_text(yaml.safe_dump(one))
        objects = rendered(mine)
        check(objects)
        images = {c["image"] for _, spec in pods(objects) for c in spec["containers"]}
        assert images == {"postgres:17", "registry.example/me/meldflow:0.2.0"}
        claims = [o["spec"] for o in objects if o["kind"] == "PersistentVolumeClaim"]
        by_name = {o["metadata"]["name"]: spec for o, spec in pods(objects)}
        if one is first:
            assert {tuple(claim["accessModes"]) for claim in claims} == {("ReadWriteOnce",)}
            continue
        assert {claim["storageClassName"] for claim in claims} == {"nfs"}
        assert by_name["gpu-worker"]["nodeSelector"]
        (worker,) = by_name["worker"]["containers"]
        assert worker["args"][-1] == "cpu=1"
        assert not [v for spec in by_name.values() for v in spec["volumes"] if v["name"] == "store"]
        (deploy,) = by_name["deployments"]["containers"]
        assert "STORE" not in {e["name"] for e in deploy["env"]}
        assert {"name": "meldflow-s3", "optional": True} in [
            e["secretRef"] for e in deploy["envFrom"]
        ]
