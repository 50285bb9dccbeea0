"""Artifacts of a flow run in the Prefect UI: made once, brought up to date in place."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactCreate, ArtifactUpdate
from prefect.context import FlowRunContext, SettingsContext, get_settings_context
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES

PROGRESS, WORKERS = "extract-progress", "extract-workers"
FAILURES, FAILED = "extract-failures", "extract-failed-utterances"
REPORT, DASHBOARD = "extract-report", "dask-dashboard"
"""Keys of the artifacts of an extraction."""

SECONDS = 5.0
"""How long the server may take to answer; what it misses, it gets the next time."""


class Artifacts:
    """The artifacts of one flow run, by key; only what changed is sent.

    Every method may raise whatever a server that is away makes Prefect raise.
    """

    def __init__(self, flow_run: UUID) -> None:
        self._flow_run = flow_run
        self._ids: dict[str, UUID] = {}
        self._sent: dict[str, dict[str, Any]] = {}

    @classmethod
    def of_this_run(cls) -> Artifacts | None:
        """Those of the flow run that is current here; None where there is none."""
        context = FlowRunContext.get()
        if context is None or context.flow_run is None:
            return None
        return cls(context.flow_run.id)

    def progress(self, key: str, share: float, words: str, figures: Mapping[str, str]) -> None:
        """A bar, ``share`` within [0, 1], with words below it and figures for programs."""
        self._put(
            key,
            "progress",
            data=round(100 * min(1.0, share), 1),
            description=words,
            metadata_=dict(figures),
        )

    def table(self, key: str, rows: Sequence[Mapping[str, object]], words: str = "") -> None:
        """A table, one mapping per row; left out while it is empty."""
        if rows or key in self._ids:
            self._put(key, "table", data=json.dumps(rows), description=words)

    def markdown(self, key: str, words: str, description: str = "") -> None:
        """A text."""
        self._put(key, "markdown", data=words, description=description)

    def _put(self, key: str, kind: str, **content: Any) -> None:
        if self._sent.get(key) == content:
            return
        with SettingsContext(**self._settings):
            if key in self._ids:
                # Not `update_artifact`: it adds an event with the whole content every time.
                self._client.request(
                    "PATCH",
                    "/artifacts/{id}",
                    path_params={"id": self._ids[key]},
                    json=ArtifactUpdate(**content).model_dump(mode="json", exclude_unset=True),
                )
            else:
                artifact = ArtifactCreate(key=key, type=kind, flow_run_id=self._flow_run, **content)
                self._ids[key] = self._client.create_artifact(artifact).id
        self._sent[key] = content

    @cached_property
    def _settings(self) -> dict[str, Any]:
        """Prefect's settings without tries again; made once, because each time costs 10 ms."""
        now = get_settings_context()
        patient = now.settings.copy_with_update(updates={PREFECT_CLIENT_MAX_RETRIES: 0})
        return {"profile": now.profile, "settings": patient}

    @cached_property
    def _client(self) -> SyncPrefectClient:
        return get_client(sync_client=True, httpx_settings={"timeout": SECONDS})
