"""Telling the Prefect server that a data set changed, so that runs start."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from models.schema import UsageError

EVENT = "meldflow.dataset.changed"

REACT_SECONDS = 20.0
"""How long the server may take to start a run on an event."""


def tell_changed(api: str, dataset: Path, store: str = "") -> str:
    """Sends the event; gives its id.

    Args:
        api: address of the server's API.
        dataset: what changed.
        store: where it is extracted to; empty for the default of the deployment that starts.

    Raises:
        UsageError: the server does not take it.
    """
    id_ = str(uuid.uuid4())
    event = {
        "id": id_,
        "occurred": datetime.now(UTC).isoformat(),
        "event": EVENT,
        "resource": {
            "prefect.resource.id": f"meldflow.dataset.{dataset}",
            "prefect.resource.name": dataset.name,
        },
        "payload": {"dataset": str(dataset)} | ({"store": store} if store else {}),
    }
    ask(api, "events", [event])
    return id_


def runs_of(api: str, event: str) -> list[dict[str, Any]]:
    """Flow runs that an event started, as soon as there are any; none where none come."""
    deadline = time.monotonic() + REACT_SECONDS
    while time.monotonic() < deadline:
        newest = {"limit": 50, "sort": "EXPECTED_START_TIME_DESC"}
        found = [one for one in ask(api, "flow_runs/filter", newest) if _started_by(one, event)]
        if found:
            return found
        time.sleep(0.5)
    return []


def ask(api: str, path: str, body: object) -> Any:
    """What the server answers to a POST; None where it says nothing.

    Raises:
        UsageError: it does not answer, or refuses.
    """
    request = urllib.request.Request(
        f"{api}/{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
    except urllib.error.HTTPError as error:
        said = " ".join(error.read().decode(errors="replace").split())[:300]
        raise UsageError(f"prefect server {api}: it refuses ({error.code}: {said})") from error
    except (OSError, ValueError) as error:
        raise UsageError(f"prefect server {api}: it does not answer ({error})") from error
    return json.loads(content) if content else None


def _started_by(run: dict[str, Any], event: str) -> bool:
    return event in json.dumps(run.get("labels", {})) or f"prefect.event.{event}" in run["tags"]


def check_reaction(api: str, store: str) -> None:
    """Finds out whether a run could start on the event.

    Raises:
        UsageError: there is no deployment `extract`, or nobody says which store.
    """
    wanted = {
        "deployments": {"name": {"any_": ["extract"]}},
        "flows": {"name": {"any_": ["extract"]}},
    }
    found = ask(api, "deployments/filter", wanted)
    if not found:
        raise UsageError(
            f"prefect server {api}: it has no deployment `extract`; register it with "
            "`meldflow deploy`"
        )
    if not store and not (found[0]["parameters"].get("options") or {}).get("store"):
        raise UsageError(
            "the deployment `extract` has no default store: name one with --store, here or for "
            "`meldflow deploy`"
        )
