"""Settings of Prefect, as variables of the environment: of commands, of servers, of runs."""

import os
from importlib.util import find_spec

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
    "PREFECT_INTERNAL_LOGGING_LEVEL": "CRITICAL",
}
"""No telemetry from the client or the server; logs go to the run, not over the terminal, and no
line for every message that a server does not take because it is away."""

PATIENT = {"PREFECT_CLIENT_MAX_RETRIES": "6", "PREFECT_API_REQUEST_TIMEOUT": "20"}
"""A server may be away for a minute or two (2 + 4 + … + 64 s), also when a run ends."""

FRUGAL = {
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_FLUSH_INTERVAL": "1",  # it drops fractions: 0 spins
}
"""A server that writes the states of task runs once a second, not one by one: by itself it spends
40 % of its time on building the same SQL statement anew."""

HEARTBEAT_SECONDS = 30
"""Between the signs of life that a flow run gives; Prefect allows no less. Its default, 180, is
longer than the silence after which a run is taken for dead (see ``zombies``)."""

ALIVE = {"PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS)}

SERVER_KEY, CLIENT_KEY = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"
"""What a server asks for, and what a client shows."""

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def no_proxy(*own: str) -> dict[str, str]:
    """Keeps whatever asks a server on this machine, or on its ``own`` hosts, from a proxy."""
    hosts = (os.environ.get("no_proxy") or os.environ.get("NO_PROXY", "")).split(",")
    value = ",".join(filter(None, dict.fromkeys((*hosts, *LOOPBACK, *own))))
    return {"NO_PROXY": value, "no_proxy": value}


def unusable_proxies() -> list[str]:
    """Variables that name a SOCKS proxy, where httpx lacks what it needs for one.

    It would fail then whatever it is asked, a server on this machine included.
    """
    usable = find_spec("socksio") is not None
    named = [name for name, value in os.environ.items() if value.startswith("socks")]
    return [] if usable else [one for one in named if one.lower().endswith("_proxy")]
