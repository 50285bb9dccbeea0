"""Data sets that change: a cheap look, remembered until the next, and the event it sends."""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.filters import FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun, WorkPoolStatus
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.schemas.events import Event, Resource
from prefect.exceptions import ObjectNotFound

from meldflow.models.schema.errors import UsageError
from meldflow.tasks.dataset.own import Beside, read_own
from meldflow.tasks.dataset.tree import walk

NOTHING_NEW = "Nothing new"
"""State, by name, of a look that told nobody of anything."""

EVENT = "meldflow.dataset.changed"

REACT_SECONDS = 20.0
"""How long the server may take to start a run on an event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of a data set; prints are hexadecimal, empty for never."""

    last: str = ""
    """Print of the last look."""
    told: str = ""
    """Print of the state that was last told of."""
    files: int = 0
    """Files at the last look."""

    def is_news(self, now: Self) -> bool:
        """Whether ``now`` is to be told: it is new, and two looks in a row agree.

        Whoever is half way through copying files is so left alone. The first two looks count as
        news: nothing that arrived before them is missed, and where all is extracted, nothing is
        done.
        """
        return now.last == self.last and now.last != self.told

    @classmethod
    def of(cls, value: object) -> Self:
        """What was remembered; nothing, where nothing can be made of it."""
        try:
            return cls(**value) if isinstance(value, dict) else cls()
        except TypeError:
            return cls()


def look(dataset: Path) -> Seen:
    """Looks at a data set without reading a clip.

    Raises:
        UsageError: it is not there, or cannot be listed.
    """
    print_, files = hashlib.sha256(), 0
    for file in sorted(_files(dataset)):
        print_.update(f"{file}\0{_state(file)}\n".encode(errors="surrogateescape"))
        files += 1
    return Seen(last=print_.hexdigest(), files=files)


def memory_of(dataset: Path) -> str:
    """Name of the Prefect variable that remembers what was seen of a data set."""
    return f"meldflow-seen-{hashlib.sha256(str(dataset).encode()).hexdigest()[:16]}"


def tell_changed(client: SyncPrefectClient, dataset: Path, store: str = "") -> datetime:
    """Sends the event; gives the time at which it was sent.

    An empty store means the default of the deployment that starts.
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
    """Flow runs that an event about a data set started since then, as soon as there are any."""
    deadline = time.monotonic() + REACT_SECONDS
    while time.monotonic() < deadline:
        # An active schedule has its runs of the coming days there as well.
        soon = {"before_": since + timedelta(seconds=2 * REACT_SECONDS)}
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter.model_validate({"expected_start_time": soon}),
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


def _files(dataset: Path) -> Iterator[Path]:
    if dataset.is_dir():
        yield from walk(dataset).files
        return
    yield dataset
    beside = Beside(dataset.parent)
    for table in read_own(dataset):
        for row in table.rows:
            yield from beside.wanted(row).candidates


def _state(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"


def _is_on(run: FlowRun, dataset: Path, since: datetime) -> bool:
    named = any(
        isinstance(value, dict) and value.get("dataset") == str(dataset)
        for value in run.parameters.values()
    )
    by = run.created_by.type if run.created_by else None
    return by == "AUTOMATION" and run.created is not None and run.created >= since and named
