"""Talking to a server: asking whether it is there, and then by Prefect's own client."""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from meldflow.flows.serving.site.home import Home, default_home
from meldflow.flows.serving.site.settings import CLIENT_KEY
from meldflow.models.schema.errors import UsageError

if TYPE_CHECKING:
    import httpx
    from prefect.client.orchestration import SyncPrefectClient


def ask(url: str, body: object = None, key: str = "") -> httpx.Response | None:
    """What a server says to a question, with JSON or none; None for no answer, or a refusal."""
    import httpx

    method = "GET" if body is None else "POST"
    shown = {"Authorization": f"Basic {b64encode(key.encode()).decode()}"} if key else {}
    try:
        answer = httpx.request(method, url, json=body, headers=shown, timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return answer if answer.is_success else None


def answers(api: str) -> bool:
    """Whether the Prefect server with this API answers."""
    return ask(f"{api}/health") is not None


@contextlib.contextmanager
def talking_to(api: str, key: str = "") -> Iterator[None]:
    """Has Prefect talk to this API, and show it a key: the user's own `up` has it in its home."""
    from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

    home = Home(default_home())
    key = key or (home.api == api and home.key) or PREFECT_API_AUTH_STRING.value() or ""
    with temporary_settings({PREFECT_API_URL: api, PREFECT_API_AUTH_STRING: key or None}):
        yield


@contextlib.contextmanager
def client_of(api: str, key: str = "", **httpx_settings: Any) -> Iterator[SyncPrefectClient]:
    """A client of the Prefect server with this API; ``key``: see ``talking_to``.

    Raises:
        UsageError: what is asked in the block is refused.
    """
    from httpx import codes
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    with (
        talking_to(api, key),
        get_client(sync_client=True, httpx_settings=httpx_settings) as client,
    ):
        try:
            yield client
        except PrefectHTTPStatusError as error:
            if error.response.status_code == codes.UNAUTHORIZED:
                said = f"another key is to be named in {CLIENT_KEY}: `up` has one in its home"
            else:
                said = " ".join(error.response.text.split())[:300]
            raise UsageError(f"prefect server {api}: it refuses ({said})") from error
