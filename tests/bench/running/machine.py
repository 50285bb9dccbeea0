"""Where, when and by what a bench ran, which belongs to every figure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from meldflow.models.running.hardware import (
    EXTRACTION_PACKAGES,
    describe_hardware,
    describe_versions,
)
from tests.bench.running.system import WORKERS

PACKAGES = (*EXTRACTION_PACKAGES, "dask", "distributed", "prefect")


def circumstances(arguments: Sequence[str]) -> dict[str, Any]:
    """Command, date, hardware and versions, as JSON values.

    Args:
        arguments: what ``python -m tests.bench`` was called with.
    """
    hardware = asdict(describe_hardware(1))
    del hardware["torch_threads"]
    return {
        "command": shlex.join(("python", "-m", "tests.bench", *arguments)),
        "date": date.today().isoformat(),
        "hardware": hardware | {"workers": WORKERS},
        "versions": describe_versions(PACKAGES),
    }
