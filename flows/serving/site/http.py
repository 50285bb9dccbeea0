"""Asking whether a server is there, before Prefect's own client can be sure of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import httpx


def ask(url: str, body: object = None) -> httpx.Response | None:
    """What a server says to a question; None where it gives no answer, or refuses.

    Args:
        url: whom to ask.
        body: JSON to send; None to send nothing.
    """
    import httpx

    method = "GET" if body is None else "POST"
    try:
        answer = httpx.request(method, url, json=body, timeout=5.0)
    except (httpx.HTTPError, httpx.InvalidURL):
        return None
    return answer if answer.is_success else None


def ask_json(url: str, body: object = None) -> Any:
    """The JSON that a server answers with; an empty mapping where it has none."""
    answer = ask(url, body)
    try:
        return {} if answer is None else answer.json()
    except ValueError:
        return {}


def answers(api: str) -> bool:
    """Whether the Prefect server with this API answers."""
    return ask(f"{api}/health") is not None
