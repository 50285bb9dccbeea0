"""What machine and which versions a result was made with, and whether its GPU computes."""

import contextlib
import ctypes
import functools
import gc
import os
import platform
import sys
from collections.abc import Iterator, Sequence
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
    *("torch", "torchvision", "transformers", "sentence-transformers", "timm", "openvino"),
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


def is_out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory did not suffice, a GPU's too; torch has a kind of its own."""
    torch = sys.modules.get("torch")
    return isinstance(error, MemoryError) or (
        torch is not None and isinstance(error, torch.OutOfMemoryError)
    )


_M_ARENA_MAX = -8
"""glibc's number of the setting, from malloc.h."""


def release_memory() -> None:
    """Gives back what torch and the C library keep for later; imports nothing.

    After a batch that did not fit, and after a network was loaded, whose weights have been in
    memory several times.
    """
    gc.collect()
    if (torch := sys.modules.get("torch")) is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    with contextlib.suppress(AttributeError, OSError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)


def share_arena() -> None:
    """Has the threads of this process share what the C library keeps for later.

    A run has a thread per partition under way, and an arena for several of them: 30 MB.
    """
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def gpu_trouble() -> str:
    """Why this process cannot compute on its GPU; empty if it can."""
    import torch

    try:
        torch.ones(2, 2, device="cuda").mm(torch.ones(2, 2, device="cuda")).cpu()
    except (RuntimeError, AssertionError) as error:  # the latter by a torch without CUDA
        return " ".join(str(error).split()).partition(". ")[0] or type(error).__name__
    return ""


def is_gpu_lost() -> bool:
    """Whether this process can no longer compute on its GPU.

    After an illegal access or a hardware error every later call to CUDA fails, until the process
    ends.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return True
    return False


@contextlib.contextmanager
def single_threaded() -> Iterator[None]:
    """Numerical libraries compute with one thread inside: results have the same bits everywhere."""
    import torch
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1):
            yield
    finally:
        torch.set_num_threads(threads)
