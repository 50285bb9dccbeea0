"""The fastest that torch's and OpenVINO's kernels run at on one thread."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from meldflow.models.running.backends import silent_openvino
from meldflow.models.running.computing import openvino_installed

PICTURES = 10
"""As many as ResNet-50 gets of a clip."""

WARM_UPS = 3
KERNEL_SECONDS = 0.5
"""How long a kernel is repeated; the fastest repetition counts."""

MATMULS = ((1024, 1024, 1024), (2048, 2048, 2048), (512, 768, 3072), (2048, 768, 768))
"""Rows, inner and columns of a product; the last two are wav2vec 2.0's on 10 and 40 s of sound."""

CONVOLUTIONS = (
    *((64, 64, 56, 3), (128, 128, 28, 3), (256, 256, 14, 3), (512, 512, 7, 3)),
    *((64, 256, 56, 1), (512, 128, 28, 1), (256, 1024, 14, 1), (1024, 256, 14, 1)),
)
"""Channels in and out, side of the picture and of the kernel: ResNet-50's, on ten pictures."""

HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16"}
"""Precision → OpenVINO's name of it."""

TORCH = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
"""Precision → torch's name of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """What a kernel reaches on one thread."""

    library: str
    kernel: str
    precision: str
    gflop_per_second: float
    """10^9 multiplications and additions per second of CPU."""


@dataclass(frozen=True, slots=True)
class Kernel:
    """Something to run, and the operations that it does."""

    library: str
    name: str
    flop: float
    run: Callable[[], object]


def rates(precision: str, say: Callable[[str], None]) -> list[Rate]:
    """What every kernel at hand reaches, in order; OpenVINO's only where it is installed."""
    found = []
    for kernel in _kernels(precision):
        say(f"{precision}: {kernel.library}, {kernel.name}")
        best = kernel.flop / _fastest(kernel.run)
        found.append(
            Rate(
                library=kernel.library,
                kernel=kernel.name,
                precision=precision,
                gflop_per_second=round(best / 1e9, 1),
            )
        )
    return found


def _fastest(run: Callable[[], object]) -> float:
    """CPU seconds of the fastest of several repetitions."""
    for _ in range(WARM_UPS):
        run()
    best, until = math.inf, time.perf_counter() + KERNEL_SECONDS
    while math.isinf(best) or time.perf_counter() < until:
        started = time.process_time()
        run()
        best = min(best, time.process_time() - started)
    return best


def _kernels(precision: str) -> Iterator[Kernel]:
    """One at a time, so that only its arrays are held."""
    libraries = [("torch", _torch_matmul, _torch_convolution)]
    if openvino_installed():
        silent_openvino()
        libraries.append(("OpenVINO", _openvino_matmul, _openvino_convolution))
    for library, matmul, convolution in libraries:
        for rows, inner, columns in MATMULS:
            name, flop = f"matmul {rows} x {inner} x {columns}", 2.0 * rows * inner * columns
            yield Kernel(library, name, flop, matmul(precision, rows, inner, columns))
        for given, gives, side, kernel in CONVOLUTIONS:
            name = f"convolution {kernel} x {kernel}, {given} to {gives} channels, {side} x {side}"
            flop = 2.0 * PICTURES * given * gives * (side * kernel) ** 2
            yield Kernel(library, name, flop, convolution(precision, given, gives, side, kernel))


def _torch_matmul(precision: str, rows: int, inner: int, columns: int) -> Callable[[], object]:
    import torch

    dtype = getattr(torch, TORCH[precision])
    left = torch.rand(rows, inner, dtype=dtype)
    right = torch.rand(columns, inner, dtype=dtype)
    return torch.inference_mode()(lambda: torch.nn.functional.linear(left, right))


def _torch_convolution(
    precision: str, given: int, gives: int, side: int, kernel: int
) -> Callable[[], object]:
    import torch

    dtype = getattr(torch, TORCH[precision])
    last = torch.channels_last
    pictures = torch.rand(PICTURES, given, side, side).to(dtype, memory_format=last)
    weight = torch.rand(gives, given, kernel, kernel).to(dtype, memory_format=last)
    convolve = torch.nn.functional.conv2d
    return torch.inference_mode()(lambda: convolve(pictures, weight, padding=kernel // 2))


def _openvino_matmul(precision: str, rows: int, inner: int, columns: int) -> Callable[[], object]:
    from openvino import opset13 as ops

    left = ops.parameter([rows, inner], np.float32)
    right = ops.constant(np.random.default_rng(0).random((inner, columns), np.float32))
    return _compiled(precision, ops.matmul(left, right, False, False), left, (rows, inner))


def _openvino_convolution(
    precision: str, given: int, gives: int, side: int, kernel: int
) -> Callable[[], object]:
    from openvino import opset13 as ops

    shape, pads = (PICTURES, given, side, side), [kernel // 2] * 2
    pictures = ops.parameter(list(shape), np.float32)
    size = (gives, given, kernel, kernel)
    weight = ops.constant(np.random.default_rng(0).random(size, np.float32))
    convolved = ops.convolution(pictures, weight, [1, 1], pads, pads, [1, 1])
    return _compiled(precision, convolved, pictures, shape)


def _compiled(
    precision: str, result: Any, parameter: Any, shape: tuple[int, ...]
) -> Callable[[], object]:
    openvino = silent_openvino()
    options = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": HINTS[precision],
    }
    model = openvino.Model([result], [parameter])
    request = openvino.Core().compile_model(model, "CPU", options).create_infer_request()
    values = np.random.default_rng(1).random(shape, np.float32)
    return lambda: request.infer([values], share_inputs=True, share_outputs=True)
