"""Telling the Prefect server that a data set changed, so that runs start."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any

from meldflow.models.schema.errors import UsageError

EVENT = "meldflow.dataset.changed"

TRIES = 5
"""A server that is busy with its data base says "unavailable" and means "in a moment"."""

REACT_SECONDS = 20.0
"""How long the server may take to start a run on an event."""


def tell_changed(api: str, dataset: Path, store: str = "") -> datetime:
    """Sends the event; gives the time at which it was sent.

    Args:
        api: address of the server's API.
        dataset: what changed.
        store: where it is extracted to; empty for the default of the deployment that starts.

    Raises:
        UsageError: the server does not take it.
    """
    now = datetime.now(UTC)
    event = {
        "id": str(uuid.uuid4()),
        "occurred": now.isoformat(),
        "event": EVENT,
        "resource": {
            "prefect.resource.id": f"meldflow.dataset.{dataset}",
            "prefect.resource.name": dataset.name,
        },
        "payload": {"dataset": str(dataset)} | ({"store": store} if store else {}),
    }
    ask(api, "events", [event])
    return now


def runs_on(api: str, dataset: Path, since: datetime) -> list[dict[str, Any]]:
    """Flow runs that an event about a data set started, as soon as there are any.

    Args:
        api: address of the server's API.
        dataset: what changed.
        since: older ones are of other events.
    """
    deadline = time.monotonic() + REACT_SECONDS
    while time.monotonic() < deadline:
        newest = {"limit": 20, "sort": "EXPECTED_START_TIME_DESC"}
        runs = ask(api, "flow_runs/filter", newest)
        if found := [one for one in runs if _is_on(one, dataset, since)]:
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
    for left in reversed(range(TRIES)):
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                content = answer.read()
            break
        except urllib.error.HTTPError as error:
            if error.code == HTTPStatus.SERVICE_UNAVAILABLE and left:
                time.sleep(1.0)
                continue
            said = " ".join(error.read().decode(errors="replace").split())[:300]
            raise UsageError(f"prefect server {api}: it refuses ({error.code}: {said})") from error
        except (OSError, ValueError) as error:
            raise UsageError(f"prefect server {api}: it does not answer ({error})") from error
    return json.loads(content) if content else None


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


def _is_on(run: dict[str, Any], dataset: Path, since: datetime) -> bool:
    by = (run.get("created_by") or {}).get("type")
    created = datetime.fromisoformat(run["created"])
    named = any(
        isinstance(value, dict) and value.get("dataset") == str(dataset)
        for value in run["parameters"].values()
    )
    return by == "AUTOMATION" and created >= since and named
