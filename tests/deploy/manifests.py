"""What the folders of deploy/kubernetes ask a cluster for."""

from __future__ import annotations

import functools
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml

from tests.paths import ROOT

FOLDER = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("base", "cpu", "gpu", "operator", "fill")
COMPONENTS = ("s3", "one-node")

Manifest: TypeAlias = dict[str, Any]


def documents(file: Path) -> list[Manifest]:
    return list(yaml.safe_load_all(file.read_text()))


@functools.cache
def named(folder: Path) -> list[Manifest]:
    """The objects of a folder's files and of those it names, as they are before any patch."""
    found = []
    for name in kustomization(folder).get("resources", ()):
        path = (folder / name).resolve()
        found += named(path) if path.is_dir() else documents(path)
    return found


def kustomization(folder: Path) -> Manifest:
    (found,) = documents(folder / "kustomization.yaml")
    return found


def rendered(folder: Path) -> list[Manifest]:
    """The objects as they reach the cluster; skips the test where no kubectl can tell."""
    kubectl = shutil.which("kubectl")
    version = subprocess.run(
        [kubectl or "false", "version", "--client"], capture_output=True, text=True, check=False
    )
    known = re.search(r"Kustomize Version: v(\d+)", version.stdout)
    if known is None or int(known[1]) < 5:
        pytest.skip("no kubectl of 1.27 or later")
    done = subprocess.run(
        [str(kubectl), "kustomize", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def pods(objects: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Everything that starts pods, and what they are to be."""
    for one in objects:
        if one["kind"] == "Pod":
            yield one, one["spec"]
        elif "template" in one.get("spec", {}):
            yield one, one["spec"]["template"]["spec"]


def restricted(spec: Manifest) -> list[str]:
    """Which rules of the *restricted* profile a pod breaks."""
    pod = spec.get("securityContext", {})
    broken = [name for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    if pod.get("seccompProfile", {}).get("type") not in ("RuntimeDefault", "Localhost"):
        broken.append("seccompProfile")
    if pod.get("runAsNonRoot") is not True or pod.get("runAsUser") == 0:
        broken.append("runAsNonRoot")
    for one in spec["containers"] + spec.get("initContainers", []):
        own = one.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False:
            broken.append(f"{one['name']}: allowPrivilegeEscalation")
        if own.get("capabilities") != {"drop": ["ALL"]}:
            broken.append(f"{one['name']}: capabilities")
        if own.get("privileged") or own.get("runAsUser") == 0:
            broken.append(f"{one['name']}: privileged")
    allowed = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
    return broken + [v["name"] for v in spec.get("volumes", ()) if not allowed & set(v)]
