"""How busy a GPU is, as its driver counts."""

from __future__ import annotations

import contextlib
import shutil
import statistics
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_ASKED = ("utilization.gpu", "utilization.decoder", "memory.used")
_EVERY_MS = 250


@dataclass(slots=True)
class Usage:
    """What was seen of it; nothing where there is none."""

    kernels: list[float] = field(default_factory=list)
    """Share of the time in which anything computed, one figure per look, within [0, 1]."""
    decoders: list[float] = field(default_factory=list)
    """The same of its video decoders."""
    memory_mb: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, float | None]:
        """Means of the shares, and the most memory, MB of 2^20 bytes; None where none was seen."""
        return {
            "kernels": _mean(self.kernels),
            "decoders": _mean(self.decoders),
            "memory_mb": max(self.memory_mb, default=None),
        }


def name() -> str:
    """What the driver calls the first GPU; empty where there is none."""
    if not shutil.which("nvidia-smi"):
        return ""
    asked = ("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader")
    said = subprocess.run(asked, capture_output=True, text=True, check=False)
    return "" if said.returncode else said.stdout.strip().partition("\n")[0]


@contextlib.contextmanager
def watched() -> Iterator[Usage]:
    """Looks at the first GPU four times a second inside the block, if there is one."""
    seen = Usage()
    if not name():
        yield seen
        return
    command = (
        *("nvidia-smi", "--id=0", f"--loop-ms={_EVERY_MS}"),
        *(f"--query-gpu={','.join(_ASKED)}", "--format=csv,noheader,nounits"),
    )
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as looking:
        reader = threading.Thread(target=_read, args=(looking, seen), daemon=True)
        reader.start()
        try:
            yield seen
        finally:
            looking.terminate()
            reader.join()


def _read(looking: subprocess.Popen[str], seen: Usage) -> None:
    for line in looking.stdout or ():
        with contextlib.suppress(ValueError):  # a decoder that is not told of, a line cut short
            kernels, decoders, memory = map(float, line.split(","))
            seen.kernels.append(kernels / 100)
            seen.decoders.append(decoders / 100)
            seen.memory_mb.append(memory)


def _mean(shares: list[float]) -> float | None:
    return round(statistics.mean(shares), 3) if shares else None
