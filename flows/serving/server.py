"""The Prefect server that a command talks to, and what is owed to it when a flow ends.

A configured server is used as it is, else that of the user's `meldflow up`, else one that commands
share. Prefect's own in-process fallback is never used: it loses task runs and starts a copy in
every process that asks for it.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from meldflow.flows.serving.site.home import Home, default_home
from meldflow.flows.serving.site.http import answers, client_of, talking_to
from meldflow.models.schema.errors import RunError, UsageError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

P = ParamSpec("P")
T = TypeVar("T")

LOCAL = "http://127.0.0.1:4200/api"
"""What `meldflow up` serves where nobody says otherwise."""

DELIVER_SECONDS = 20.0

undelivered: list[str] = []
"""Servers that did not take everything that this process had to tell them."""


@contextlib.contextmanager
def prefect_server(*others: str) -> Iterator[str]:
    """The API that what runs inside talks to, up and healthy.

    The configured one, that of `meldflow up`, the first of ``others`` that answers, or ours.

    Raises:
        UsageError: the configured server does not answer, or asks for another key.
        RunError: there is none, and none of our own started.
    """
    with contextlib.ExitStack() as stack:
        if not (url := _running(*others)):
            from meldflow.flows.serving.site.shared import shared_home, shared_server  # and Dask

            url = stack.enter_context(shared_server(shared_home()))
        with client_of(url) as client:
            client.api_version()  # which it tells nobody who has no key
        stack.enter_context(talking_to(url))
        try:
            yield url
        finally:
            if not _deliver():
                undelivered.append(url)


@contextlib.contextmanager
def connected(named: str = "", key: str = "") -> Iterator[SyncPrefectClient]:
    """A client of the API at an address, or else of the configured one or of `meldflow up`.

    ``key``: what it is shown, where that is not configured.

    Raises:
        UsageError: it does not answer, or refuses what is asked in the block.
    """
    with client_of(_running(named=named) or find_api(LOCAL), key) as client:
        yield client


def find_api(named: str) -> str:
    """The API at an address, which answers.

    Raises:
        UsageError: it does not.
    """
    url = named.rstrip("/")
    for one in (url, f"{url}/api"):  # the UI's address is an easy mistake
        if answers(one):
            return one
    raise UsageError(
        f"prefect server {url}: it does not answer; start one with `meldflow up`, or name yours "
        "in PREFECT_API_URL"
    )


def _running(*others: str, named: str = "") -> str:
    from prefect.settings import PREFECT_API_URL

    if configured := named or PREFECT_API_URL.value():
        return find_api(configured)
    apis = (Home(default_home()).api, *others)
    return next((one for one in apis if one and answers(one)), "")


def outcome(flow: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
    """What a flow gives, also where its server went away before it could be told.

    Raises:
        RunError: the server was away for too long before the flow came to its end.
    """
    import httpx

    kept: list[T] = []
    body: Callable[P, T] = flow.fn  # type: ignore[attr-defined]

    @functools.wraps(body)
    def keeping(*arguments: P.args, **named: P.kwargs) -> T:
        kept.append(body(*arguments, **named))
        return kept[0]

    told = copy.copy(flow)
    told.fn = keeping  # type: ignore[attr-defined]
    try:
        return told(*arguments, **named)
    except (httpx.HTTPError, RuntimeError) as error:
        # What a flow itself ends in is never one of these: it talks to nobody else by HTTP. At a
        # run's start, Prefect says in an error of its own that nobody answers.
        if not isinstance(error, httpx.HTTPError) and "Failed to reach API" not in str(error):
            raise
        if kept:
            return kept[0]
        why = str(error).strip() or type(error).__name__
        raise RunError(
            f"prefect server: it went away ({why}); what was committed is kept: run again once "
            "it is back"
        ) from error


def _deliver() -> bool:
    """Sends what Prefect still holds back, and ends the threads that hold it.

    Prefect delivers logs and events in the background; its threads wait at exit for as long
    as that takes, which is for ever once the server is gone. Gives whether everything is sent.
    """
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    drained = [one.drain_all(timeout=DELIVER_SECONDS) for one in (APILogWorker, EventsWorker)]
    return not any(isinstance(one, tuple) and one[1] for one in drained)
