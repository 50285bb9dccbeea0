"""Where a bench ran: hardware and versions, which belong to every figure."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tasks.bench.system import WORKERS
from tasks.hardware import EXTRACTION_PACKAGES, describe_hardware, describe_versions

PACKAGES = (*EXTRACTION_PACKAGES, "dask", "distributed", "prefect")


def machine() -> dict[str, Any]:
    """Hardware and versions, as JSON values."""
    hardware = asdict(describe_hardware(1))
    del hardware["torch_threads"]
    return {"hardware": hardware | {"workers": WORKERS}, "versions": describe_versions(PACKAGES)}
