"""Names of runs: that of the form, or else one that tells a run from its siblings."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from coolname.data import config as coolname
from prefect.runtime import flow_run

FORM = re.compile(
    "(Awesome|Ergonomic|Fantastic|Generic|Gorgeous|Handcrafted|Handmade|Incredible|Intelligent|"
    "Licensed|Practical|Refined|Rustic|Sleek|Small|Tasty|Unbranded)-[A-Z][A-Za-z ]{1,5}"
)
"""What the form of Prefect's UI proposes: an adjective and a short animal, `Tasty-Zebu`."""

_LISTS: Mapping[str, Any] = coolname
WORDS = {word for one in _LISTS.values() for word in one.get("words", ())}
"""What Prefect's server makes names of, two words each, where nobody gives one."""


def run_name() -> str:
    """Name of the run that starts: the one it was given, else flow, what it is about, time (UTC).

    Prefect calls it; what it returns replaces the run's name.
    """
    if not is_drawn(flow_run.name):
        return str(flow_run.name)
    options = next(iter(flow_run.parameters.values()))
    about = getattr(options, "store", "") or options.dataset
    part = str(about).rstrip("/").rpartition("/")[2]
    return f"{flow_run.flow_name}-{part}-{datetime.now(UTC):%Y%m%d-%H%M%S}"


def is_drawn(name: str) -> bool:
    """Whether Prefect drew that name, and no person chose it."""
    first, _, second = name.partition("-")
    return bool(FORM.fullmatch(name)) or {first, second} <= WORDS
