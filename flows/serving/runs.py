"""Runs as the Prefect server knows them: their states, and how far they are."""

import contextlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from httpx import HTTPError
from prefect.client.orchestration import SyncPrefectClient
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings

from meldflow.flows.serving.changes import NOTHING_NEW
from meldflow.flows.serving.server import LOCAL, prefect_server
from meldflow.flows.serving.site.http import client_of
from meldflow.flows.serving.site.shared import shared_home
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.tasks.watching.artifacts import FAILURES, PROGRESS, WORKERS

ANSWER_SECONDS = 10.0
PATIENCE_SECONDS = 300.0
"""How long a server may be away from those who watch."""

ENDS = {"COMPLETED": 0, "FAILED": 1, "CRASHED": 1, "CANCELLED": 130}
"""Type of a state that no run leaves → exit code of the command that watched it."""

WORK = ("extract", "train", "pipeline", "audit", "maintain")
"""Flows that do what somebody waits for."""

UNSEEN = ("Scheduled", NOTHING_NEW)
"""States, by name, of runs that nobody has to see: those of the coming days, and idle looks."""

PAGE = 200
"""Records that the API gives at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSeen:
    """A run, as the server has it now."""

    id: str
    name: str
    flow: str
    state: str
    """Its name for people, such as ``AwaitingRetry``."""
    kind: str
    """Its type, such as ``SCHEDULED``."""
    message: str
    started: str
    """UTC, ISO 8601; empty before it did."""
    seconds: float
    """How long it has been running, or did."""
    progress: Mapping[str, str]
    """Figures of its progress artifact, as ``meldflow.tasks.watching.watch.figures`` makes them."""

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen."""
        return self.kind in ENDS

    @property
    def share(self) -> float | None:
        """Done among planned features; None where the run does not extract, or not yet."""
        planned = int(self.progress.get("planned", 0))
        return int(self.progress["done"]) / planned if planned else None

    def to_json(self) -> dict[str, Any]:
        """The same as JSON values, with its progress as numbers."""
        numbers = {name: float(value) if value else None for name, value in self.progress.items()}
        return asdict(self) | {"progress": numbers, "share": self.share, "ended": self.ended}


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """A run with what its artifacts say."""

    run: RunSeen
    words: str
    """The sentences below the progress bar, Markdown."""
    failures: Sequence[Mapping[str, Any]]
    """A row per extractor and reason, the most frequent first."""
    workers: Sequence[Mapping[str, Any]]
    """A row per worker, the busiest first."""


class Server:
    """The Prefect server that is asked."""

    def __init__(self, url: str, client: SyncPrefectClient) -> None:
        self.url = url
        self._client = client

    def runs(self, limit: int, flow: str = "", state: str = "", store: str = "") -> list[RunSeen]:
        """The newest runs: of a flow, in states of a type, on a store (its path, or the end of it).

        Without a state, those that nobody has to see are left out.
        """
        flows = {"flows": {"name": {"any_": [flow]}}} if flow else {}
        runs = {"state": {"type": {"any_": [state]}}} if state else {}
        # What a run works on is no condition that the API knows.
        found = (one for one in self._every(runs, **flows) if _is_on(one, store))
        return self._seen(list(itertools.islice(found, limit)))

    def find(self, named: str | None) -> str:
        """The id of a run, by its id or name or what its name begins with; the newest of them.

        Without a name, that of the newest run that does work, begun by itself.

        Raises:
            UsageError: there is none.
        """
        if named is None:
            # What a pipeline starts ends before the pipeline does.
            alone = {"parent_task_run_id": {"is_null_": True}}
            found = self._runs(1, alone, flows={"name": {"any_": WORK}})
        elif _is_id(named):
            found = self._runs(1, {"id": {"any_": [named]}})
        else:
            found = self._runs(1, {"name": {"any_": [named]}})
            found = found or self._runs(1, {"name": {"like_": f"{named}-"}})
        if not found:
            what = "there is no run yet" if named is None else f"no run is called {named!r}"
            raise UsageError(f"prefect server {self.url}: {what}; `meldflow runs` lists them")
        return str(found[0]["id"])

    def look(self, run_id: str) -> RunView:
        """A run and its artifacts, those of the runs that it started included.

        Raises:
            UsageError: it is not there any more.
        """
        found = self._ask("flow_runs", flow_runs={"id": {"any_": [run_id]}})
        if not found:
            raise UsageError(f"prefect server {self.url}: the run {run_id} was deleted")
        ids = [run_id, *self._children([run_id])]
        newest = {one["key"]: one for one in self._artifacts(ids, PROGRESS, FAILURES, WORKERS)}
        (run,) = self._seen(found)
        return RunView(
            run=run,
            words=newest.get(PROGRESS, {}).get("description") or "",
            failures=_rows(newest.get(FAILURES)),
            workers=[] if run.ended else _rows(newest.get(WORKERS)),
        )

    def follow(self, run_id: str, interval: float, show: Callable[[RunView, str], None]) -> RunView:
        """Shows a run every ``interval`` seconds until it ends; gives it as it ended.

        ``show`` is called with the run and what is wrong with the server, if anything is.

        Raises:
            UsageError: it is not there any more.
            RunError: the server is gone, and did not come back.
        """
        view = self.look(run_id)
        heard = time.monotonic()
        show(view, "")
        while not view.run.ended:
            time.sleep(interval)
            try:
                view = self.look(run_id)
                heard = time.monotonic()
                show(view, "")
            except ConnectionError as error:
                silent = time.monotonic() - heard
                if silent > PATIENCE_SECONDS:
                    raise RunError(f"{error}; nothing was heard for {silent:.0f} s") from error
                show(view, f"the server does not answer, since {silent:.0f} s")
        return view

    def _every(self, runs: Mapping[str, Any], **more: Any) -> Iterator[dict[str, Any]]:
        for offset in itertools.count(0, PAGE):
            page = self._runs(PAGE, runs, offset=offset, **more)
            yield from page
            if len(page) < PAGE:
                return

    def _runs(self, limit: int, runs: Mapping[str, Any], **more: Any) -> list[dict[str, Any]]:
        seen = {"state": {"name": {"not_any_": UNSEEN}}, **runs}
        order = "EXPECTED_START_TIME_DESC"
        return self._ask("flow_runs", flow_runs=seen, limit=limit, sort=order, **more)

    def _seen(self, runs: Sequence[Mapping[str, Any]]) -> list[RunSeen]:
        if not runs:
            return []
        flows = self._ask("flows", flows={"id": {"any_": sorted({run["flow_id"] for run in runs})}})
        names = {flow["id"]: flow["name"] for flow in flows}
        ids = [run["id"] for run in runs]
        parents = self._children(ids)
        progress: dict[str, Mapping[str, str]] = {}
        for one in self._artifacts([*ids, *parents], PROGRESS):
            own, figures = one["flow_run_id"], one["metadata_"] or {}
            progress[own] = progress[parents.get(own, own)] = figures
        return [
            RunSeen(
                id=run["id"],
                name=run["name"],
                flow=names.get(run["flow_id"], ""),
                state=(run["state"] or {}).get("name", ""),
                kind=(run["state"] or {}).get("type", ""),
                message=(run["state"] or {}).get("message") or "",
                started=_moment(run["start_time"]),
                seconds=round(run["estimated_run_time"] or 0.0, 1),
                progress=progress.get(run["id"], {}),
            )
            for run in runs
        ]

    def _children(self, ids: Sequence[str]) -> dict[str, str]:
        """Runs that these runs started → the one that started them."""
        found = self._ask("flow_runs", flow_runs={"parent_flow_run_id": {"any_": list(ids)}})
        # A run that another one starts hangs on a task run of its parent.
        hooks = [one["parent_task_run_id"] for one in found]
        tasks = self._ask("task_runs", task_runs={"id": {"any_": hooks}}) if hooks else []
        parents = {one["id"]: one["flow_run_id"] for one in tasks}
        return {one["id"]: parents.get(one["parent_task_run_id"], "") for one in found}

    def _artifacts(self, ids: Sequence[str], *names: str) -> list[dict[str, Any]]:
        """Artifacts of these runs by key, the oldest first."""
        conditions = {"key": {"any_": list(names)}, "flow_run_id": {"any_": list(ids)}}
        return self._ask("artifacts", artifacts=conditions, sort="CREATED_DESC")[::-1]

    def _ask(self, what: str, **body: Any) -> list[dict[str, Any]]:
        """Records that a filter of the API gives, a page of them at most.

        Raises:
            ConnectionError: the server did not answer, or not in a way that we understand.
        """
        try:
            path: Any = f"/{what}/filter"  # the client's type lists every path that there is
            answer = self._client.request("POST", path, json={"limit": PAGE, **body})
            records: list[dict[str, Any]] = answer.json()
        except (HTTPError, ValueError) as error:
            first_line = str(error).strip().partition("\n")[0]
            raise ConnectionError(f"prefect server {self.url}: {first_line}") from error
        return records


@contextlib.contextmanager
def prefect_server_in_use() -> Iterator[Server]:
    """The server of ``PREFECT_API_URL``, else that of `meldflow up`, else that of commands.

    Raises:
        UsageError: the configured one does not answer.
        RunError: none does, and none of our own started.
    """
    with (
        prefect_server(shared_home().api, LOCAL) as url,
        temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}),
        client_of(url, timeout=ANSWER_SECONDS) as client,
    ):
        yield Server(url, client)


def _rows(artifact: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    return list(json.loads(artifact["data"])) if artifact else []


def _moment(time: str | None) -> str:
    if not time:
        return ""
    return datetime.fromisoformat(time).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_on(run: Mapping[str, Any], store: str) -> bool:
    """Whether the store that a run works on has this path, or one that ends so."""
    stores = [one.get("store") for one in run["parameters"].values() if isinstance(one, dict)]
    return not store or any(f"/{one}".endswith(f"/{store.rstrip('/')}") for one in stores if one)


def _is_id(named: str) -> bool:
    with contextlib.suppress(ValueError):
        return bool(UUID(named))
    return False
