"""Telling the Prefect server that a data set changed, so that runs start."""

import contextlib
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import (
    FlowFilter,
    FlowRunFilter,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.objects import FlowRun, WorkPoolStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.schemas.events import Event, Resource
from prefect.exceptions import ObjectNotFound

from meldflow.flows.serving.changes import NOTHING_NEW
from meldflow.models.schema.errors import UsageError

EVENT = "meldflow.dataset.changed"

REACT_SECONDS = 20.0
"""How long the server may take to start a run on an event."""


def tell_changed(client: SyncPrefectClient, dataset: Path, store: str = "") -> datetime:
    """Sends the event; gives the time at which it was sent.

    Args:
        client: of the server.
        dataset: what changed.
        store: where it is extracted to; empty for the default of the deployment that starts.
    """
    event = Event(
        occurred=datetime.now(UTC),
        event=EVENT,
        resource=Resource(
            {
                "prefect.resource.id": f"meldflow.dataset.{dataset}",
                "prefect.resource.name": dataset.name,
            }
        ),
        payload={"dataset": str(dataset)} | ({"store": store} if store else {}),
    )
    path: Any = "/events"  # which the client's type does not list
    client.request("POST", path, json=[event.model_dump(mode="json")])
    return event.occurred


def forget_idle_looks(client: SyncPrefectClient) -> None:
    """Deletes the runs of polls that saw nothing new: nobody has to see them."""
    idle = FlowRunFilter.model_validate({"state": {"name": {"any_": [NOTHING_NEW]}}})
    polls = FlowFilter.model_validate({"name": {"any_": ["poll"]}})
    for one in client.read_flow_runs(flow_filter=polls, flow_run_filter=idle, limit=200):
        with contextlib.suppress(ObjectNotFound):
            client.delete_flow_run(one.id)


def runs_on(client: SyncPrefectClient, dataset: Path, since: datetime) -> list[FlowRun]:
    """Flow runs that an event about a data set started, as soon as there are any.

    Args:
        client: of the server.
        dataset: what changed.
        since: older ones are of other events.
    """
    deadline = time.monotonic() + REACT_SECONDS
    while time.monotonic() < deadline:
        # An active schedule has its runs of the coming days there as well.
        soon = FlowRunFilterExpectedStartTime(before_=since + timedelta(seconds=2 * REACT_SECONDS))
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(expected_start_time=soon),
            sort=FlowRunSort.EXPECTED_START_TIME_DESC,
            limit=20,
        )
        if found := [one for one in runs if _is_on(one, dataset, since)]:
            return found
        time.sleep(0.5)
    return []


def check_reaction(client: SyncPrefectClient, store: str) -> str:
    """Finds out whether a run could start on the event, and gives what it would still wait for.

    Raises:
        UsageError: there is no deployment `extract`, or nobody says which store.
    """
    try:
        found = client.read_deployment_by_name("extract/extract")
    except ObjectNotFound:
        raise UsageError(
            f"prefect server {client.api_url}: it has no deployment `extract`; register it with "
            "`meldflow deploy`"
        ) from None
    if not store and not (found.parameters.get("options") or {}).get("store"):
        raise UsageError(
            "the deployment `extract` has no default store: name one with --store, here or for "
            "`meldflow deploy`"
        )
    pool = client.read_work_pool(str(found.work_pool_name))
    ready = pool.status == WorkPoolStatus.READY
    return "" if ready else f" as soon as a Prefect worker asks for the work pool {pool.name}"


def _is_on(run: FlowRun, dataset: Path, since: datetime) -> bool:
    named = any(
        isinstance(value, dict) and value.get("dataset") == str(dataset)
        for value in run.parameters.values()
    )
    by = run.created_by.type if run.created_by else None
    return by == "AUTOMATION" and run.created is not None and run.created >= since and named
