"""Talking to a server: asking whether it is there, and then by Prefect's own client."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meldflow.models.schema.errors import UsageError

if TYPE_CHECKING:
    import httpx
    from prefect.client.orchestration import SyncPrefectClient


def ask(url: str, body: object = None) -> httpx.Response | None:
    """What a server says to a question, with JSON or none; None for no answer, or a refusal."""
    import httpx

    method = "GET" if body is None else "POST"
    try:
        answer = httpx.request(method, url, json=body, timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return answer if answer.is_success else None


def answers(api: str) -> bool:
    """Whether the Prefect server with this API answers."""
    return ask(f"{api}/health") is not None


@contextlib.contextmanager
def client_of(api: str, **httpx_settings: Any) -> Iterator[SyncPrefectClient]:
    """A client of the Prefect server with this API.

    Raises:
        UsageError: what is asked in the block is refused.
    """
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with (
        temporary_settings({PREFECT_API_URL: api}),
        get_client(sync_client=True, httpx_settings=httpx_settings) as client,
    ):
        try:
            yield client
        except PrefectHTTPStatusError as error:
            said = " ".join(error.response.text.split())[:300]
            raise UsageError(f"prefect server {api}: it refuses ({said})") from error
