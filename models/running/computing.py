"""How networks compute: by which library, in which numbers; part of an extractor's key.

``auto`` is a wish, never part of a key: ``choose`` turns it into names. It keeps what a store
has, so that the same command on another machine never makes a whole store stale.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Self

from meldflow.models.running.hardware import cpu_says
from meldflow.models.schema.errors import UsageError

AUTO = "auto"
BACKENDS = ("torch", "openvino")
"""torch is the reference; OpenVINO runs the same networks on CPUs, and faster."""
PRECISIONS = ("fp32", "bf16", "fp16")

_INSTRUCTIONS = {
    "bf16": {"amx_bf16", "avx512_bf16"},
    "fp16": {"amx_fp16", "avx512_fp16"},
}
"""Precision → flags of x86 processors that multiply in it, as Linux lists them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computing:
    """What runs a network, and the numbers that its products are of; sums are of fp32."""

    backend: str = "torch"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        """Refuses names that are not known (``ValueError``)."""
        for name, known in ((self.backend, BACKENDS), (self.precision, PRECISIONS)):
            if name not in known:
                raise ValueError(f"{name!r} is none of {', '.join(known)}")

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides a network's numbers, as JSON values."""
        return {"backend": self.backend, "precision": self.precision}

    def refusal(self, device: str) -> str:
        """Why it cannot be had on ``device`` of this machine; empty where it can."""
        if self.backend != "openvino":
            return ""
        if device != "cpu":
            return "OpenVINO runs on CPUs"
        if not openvino_installed():
            return "OpenVINO is not installed (meldflow[openvino])"
        if self.precision not in cpu_precisions():
            return f"this processor has no instructions for {self.precision}"
        return ""

    def __str__(self) -> str:
        """For people, e.g. ``openvino in bf16``."""
        return f"{self.backend} in {self.precision}"

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Self | None:
        """What a key's parameters name; None where they name nothing that is known here."""
        try:
            return cls(backend=parameters["backend"], precision=parameters["precision"])
        except (KeyError, ValueError):
            return None


def choose(backend: str, precision: str, device: str, had: Computing | None) -> Computing:
    """What to compute with.

    On a GPU the networks are no bottleneck, so ``auto`` is exact there. On a CPU it is OpenVINO
    where that is installed, and bf16 where the processor has instructions for it.

    Args:
        backend: a name in ``BACKENDS``, or ``auto``.
        precision: a name in ``PRECISIONS``, or ``auto``.
        device: where the networks run: ``cpu`` or ``cuda``.
        had: what the features were computed with that a store holds; ``auto`` keeps it.

    Raises:
        UsageError: that cannot be had here.
    """
    if had and backend in (AUTO, had.backend) and precision in (AUTO, had.precision):
        if why := had.refusal(device):
            raise UsageError(
                f"the features that are there were computed by {had}: {why}; name another "
                "--backend or --precision to compute all of them anew"
            )
        return had
    chosen = _best(backend, precision, device)
    if why := chosen.refusal(device):
        raise UsageError(f"{chosen}: {why}; choose another --backend or --precision")
    return chosen


def cpu_precisions() -> tuple[str, ...]:
    """Precisions that this machine's processor has instructions for, the exact one first."""
    flags = set(cpu_says("flags").split())
    return ("fp32", *(name for name, some in _INSTRUCTIONS.items() if some & flags))


def openvino_installed() -> bool:
    """Whether the extra ``openvino`` is there; it is not imported."""
    return find_spec("openvino") is not None


def _best(backend: str, precision: str, device: str) -> Computing:
    on_cpu = device == "cpu"
    if backend == AUTO:
        can = on_cpu and openvino_installed() and precision in (AUTO, *cpu_precisions())
        backend = "openvino" if can else "torch"
    if precision == AUTO:
        precision = "bf16" if on_cpu and "bf16" in cpu_precisions() else "fp32"
    try:
        return Computing(backend=backend, precision=precision)
    except ValueError as error:
        raise UsageError(str(error)) from error
