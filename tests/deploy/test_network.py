"""Who may connect to whom in Kubernetes: the policies, read as a network plug-in reads them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import yaml

from tests.paths import ROOT

(FILE,) = (ROOT / "deploy" / "kubernetes").rglob("network.yaml")
POLICIES = list(yaml.safe_load_all(FILE.read_text()))

NOBODY: Mapping[str, str] = {}
JOB = {"batch.kubernetes.io/job-name": "deployments"}
RUN = {"dask.org/cluster-name": "meldflow-1", "dask.org/component": "worker"}


def app(name: str) -> dict[str, str]:
    return {"app": name}


def selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    return wanted and all(
        one["key"] in labels
        and (one["operator"] == "Exists" or labels[one["key"]] in one["values"])
        for one in selector.get("matchExpressions", ())
    )


def may(who: Mapping[str, str], whom: Mapping[str, str], port: int) -> bool:
    """Whether pods of this namespace with such labels may connect."""
    applied = [one["spec"] for one in POLICIES if selects(one["spec"]["podSelector"], whom)]
    assert applied, "what no policy selects is open to everybody"
    rules = [rule for spec in applied for rule in spec.get("ingress", ())]
    return any(
        any("podSelector" in peer and selects(peer["podSelector"], who) for peer in rule["from"])
        and ("ports" not in rule or {"port": port} in rule["ports"])
        for rule in rules
    )


@pytest.mark.parametrize(
    ("who", "whom", "port"),
    [
        (app("server"), app("database"), 5432),
        (app("prefect-worker"), app("server"), 4200),
        (JOB, app("server"), 4200),
        (app("prefect-worker"), app("scheduler"), 8786),
        (app("worker"), app("scheduler"), 8786),
        (app("gpu-worker"), app("worker"), 40001),
        (app("scheduler"), app("worker"), 40001),
        (app("prefect-worker"), RUN, 8786),
        (RUN, RUN, 40001),
    ],
)
def test_who_has_to_may(who: Mapping[str, str], whom: Mapping[str, str], port: int) -> None:
    assert may(who, whom, port)


@pytest.mark.parametrize("port", [4200, 5432, 8786, 8787, 40001])
@pytest.mark.parametrize("whom", [*map(app, ("server", "database", "scheduler", "worker")), RUN])
def test_nobody_else_may(whom: Mapping[str, str], port: int) -> None:
    for who in (NOBODY, app("database"), app("somebody")):
        assert not may(who, whom, port)
    if port in (4200, 5432):
        assert not may(app("worker"), app("server"), port)
        assert not may(app("worker"), app("database"), port)
