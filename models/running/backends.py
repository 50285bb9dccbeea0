"""A torch module made ready to run: by torch itself, or by OpenVINO on a CPU.

Both are ``Network``: arrays go in, an fp32 array comes out, batch by batch. torch is the
reference that OpenVINO is checked against.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import RunError, UsageError
from meldflow.models.weights.load import exact_inference

if TYPE_CHECKING:
    import torch

Arrays = Sequence[NDArray[Any]]
"""The inputs of one forward pass."""
Shapes = Sequence[tuple[int, ...]]
"""The shape of each input, with -1 where it varies from pass to pass."""


def ready(
    module: torch.nn.Module, computing: Computing, device: str, example: Arrays, shapes: Shapes
) -> Network:
    """``module`` as ``computing`` runs it on ``device``.

    Args:
        module: in eval mode, on the CPU, in fp32. It is taken over: what runs may share its
            weights or change them.
        computing: library and precision.
        device: ``cpu`` or ``cuda[:n]``; OpenVINO runs on the former alone.
        example: inputs to trace it with.
        shapes: what inputs may be like.

    Raises:
        UsageError: the library is not installed, or the processor lacks the precision.
        RunError: there is no room for a network's file.
    """
    module.requires_grad_(False)
    return _BACKENDS[computing.backend](module, computing, device, example, shapes)


def room(device: str, *, on_cpu: int, bytes_each: int) -> int:
    """How many inputs to put through a network at once.

    A CPU gains nothing from large batches: a core is busy with few, whose activations stay in
    its cache. A GPU gets as many as a quarter of its free memory holds.

    Args:
        device: ``cpu`` or ``cuda``.
        on_cpu: the number for a CPU.
        bytes_each: what one input's activations take at the widest point.
    """
    if device == "cpu":
        return on_cpu
    import torch

    free, _ = torch.cuda.mem_get_info()
    kept = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()  # by torch, for this
    return max(1, (free + kept) // 4 // bytes_each)


@dataclass(frozen=True, slots=True)
class TorchNetwork:
    """Runs on the device of the module's parameters."""

    module: torch.nn.Module
    place: torch.device

    reuses_shapes = False
    """Whether inputs of a new shape cost more, so that a few shapes are better than many."""

    @property
    def device(self) -> str:
        """``cpu`` or ``cuda``."""
        return self.place.type

    def run(self, batches: Iterable[Arrays]) -> list[NDArray[np.float32]]:
        """One forward pass per batch; on a GPU, the next is copied while this one computes."""
        with exact_inference():
            # Nothing waits for the GPU before all is under way.
            launched = [self.module(*map(self._moved, arrays)) for arrays in batches]
            return [one.float().cpu().numpy() for one in launched]

    def _moved(self, array: NDArray[Any]) -> torch.Tensor:
        import torch

        tensor = torch.from_numpy(array)
        if self.place.type == "cpu":
            return tensor
        # Only from pinned memory does a copy run beside the GPU's work.
        return tensor.pin_memory().to(self.place, non_blocking=True)


@dataclass(frozen=True, slots=True)
class OpenVinoNetwork:
    """Runs on the CPU, with as many threads as torch has."""

    request: Any
    """An ``openvino.InferRequest``: its buffers live from batch to batch."""

    device = "cpu"
    reuses_shapes = True

    def run(self, batches: Iterable[Arrays]) -> list[NDArray[np.float32]]:
        """One forward pass per batch."""
        return [self._infer(arrays) for arrays in batches]

    def _infer(self, arrays: Arrays) -> NDArray[np.float32]:
        self.request.infer(list(arrays), share_inputs=True)
        # A copy: the next pass writes over the request's own.
        return np.array(self.request.get_output_tensor(0).data, np.float32)


Network: TypeAlias = TorchNetwork | OpenVinoNetwork
"""A network with its weights, where and how it runs."""


def _torch(
    module: torch.nn.Module, computing: Computing, device: str, _example: Arrays, _shapes: Shapes
) -> TorchNetwork:
    import torch

    dtype = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
    return TorchNetwork(module.to(dtype[computing.precision]).to(device), torch.device(device))


def _openvino(
    module: torch.nn.Module, computing: Computing, _device: str, example: Arrays, shapes: Shapes
) -> OpenVinoNetwork:
    import torch

    openvino = silent_openvino()
    kinds = openvino.Type
    precision = {"fp32": kinds.f32, "bf16": kinds.bf16, "fp16": kinds.f16}[computing.precision]
    tensors = tuple(map(torch.from_numpy, example))
    with torch.inference_mode(), warnings.catch_warnings():
        # Of what is fixed by tracing; that nothing else is, the tests show on other lengths.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(module, tensors, check_trace=False)
    model = openvino.convert_model(traced, example_input=tensors)
    model.reshape({number: list(shape) for number, shape in enumerate(shapes)})
    options = {
        "INFERENCE_PRECISION_HINT": precision,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Two workers that pin their only thread would both take the first core.
        "ENABLE_CPU_PINNING": False,
    }
    compiled = _compiled(openvino, model, options)
    if compiled.get_property("INFERENCE_PRECISION_HINT") != precision:
        raise UsageError(
            f"OpenVINO does not compute in {computing.precision} on this processor; choose "
            "--precision fp32, or --backend torch, which is slow in it"
        )
    return OpenVinoNetwork(compiled.create_infer_request())


def _compiled(openvino: Any, model: Any, options: dict[str, Any]) -> Any:
    """The model compiled for CPUs, from a file.

    What is compiled keeps the weights that it was made of beside its own: torch's copy, or a file
    that is mapped into memory, which the system may drop.
    """
    with tempfile.TemporaryDirectory(prefix="meldflow-") as folder:
        file = Path(folder, "model.xml")
        try:
            openvino.save_model(model, file, compress_to_fp16=False)
        except RuntimeError as error:
            raise RunError(
                f"{Path(folder).parent}: a network's file of some 400 MB cannot be written there "
                f"({error}); make room, or name another folder in TMPDIR"
            ) from error
        return openvino.Core().compile_model(file, "CPU", options)


def silent_openvino() -> Any:
    """OpenVINO, kept from reporting its use to its makers.

    It would at its import, and wait for the network. Without the package that does so it goes on.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError as error:
        raise UsageError(
            f"OpenVINO cannot be used ({error}); install meldflow[openvino]"
        ) from error
    return openvino


_BACKENDS: dict[str, Callable[[Any, Computing, str, Arrays, Shapes], Network]] = {
    "torch": _torch,
    "openvino": _openvino,
}
