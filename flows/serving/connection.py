"""Which Prefect server a command means."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from meldflow.flows.serving.server import answers
from meldflow.models.schema.errors import UsageError

LOCAL = "http://127.0.0.1:4200/api"
"""What `meldflow up` serves where nobody says otherwise."""


def find_api(named: str) -> str:
    """The API at an address, or the configured one, or that of `meldflow up`; it answers.

    Raises:
        UsageError: it does not.
    """
    from prefect.settings import PREFECT_API_URL

    url = (named or PREFECT_API_URL.value() or LOCAL).rstrip("/")
    for one in (url, f"{url}/api"):  # the UI's address is an easy mistake
        if answers(one):
            return one
    raise UsageError(
        f"prefect server {url}: it does not answer; start one with `meldflow up`, or name yours "
        "in PREFECT_API_URL"
    )


@contextlib.contextmanager
def connected(named: str) -> Iterator[str]:
    """Makes Prefect's client in this process talk to that server.

    Raises:
        UsageError: see ``find_api``.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    url = find_api(named)
    with temporary_settings(updates={PREFECT_API_URL: url}):
        yield url
