"""What machine and which versions a result was made with."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """Where the run took place."""

    cpu: str
    cores: int
    """Cores that the process may use."""
    torch_threads: int
    memory_gib: float
    """Main memory of the machine, GiB."""
    system: str
    """Operating system and processor architecture."""


PACKAGES = ("meldflow", "torch", "scikit-learn", "numpy")


EXTRACTION_PACKAGES = (
    *("meldflow", "av", "soxr", "numpy", "librosa", "opencv-python-headless", "pillow"),
    *("torch", "torchvision", "transformers", "sentence-transformers", "openvino"),
    *("zarr", "icechunk"),
)
"""What features depend on."""


NOT_INSTALLED = "not installed"


def describe_hardware(torch_threads: int) -> Hardware:
    """The machine of this process."""
    pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Hardware(
        cpu=cpu_says("model name") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        torch_threads=torch_threads,
        memory_gib=round(pages * page / 2**30, 1),
        system=f"{platform.system()} {platform.machine()}",
    )


def describe_versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Python and the packages that a result depends on → version."""
    return {"python": platform.python_version()} | {name: _version(name) for name in packages}


def usable_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@functools.cache
def cpu_says(field: str) -> str:
    """What Linux says of the first processor; nothing on other systems."""
    info = Path("/proc/cpuinfo")
    for line in info.read_text().splitlines() if info.exists() else ():
        if line.startswith(field):
            return line.partition(":")[2].strip()
    return ""


@functools.cache  # workers that share a process ask hundreds of times
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return NOT_INSTALLED
