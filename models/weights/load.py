"""What the extractors share about torch networks: seeded, loaded strictly, run in fp32.

torch is imported inside the functions, because a flow's process builds extractors too and
must not pay for it.
"""

import pickle
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import Weights
from meldflow.models.weights.find import check

T = TypeVar("T")

_UNREADABLE = (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError)


def seeded(seed: int, make: Callable[[], T]) -> T:
    """What ``make`` builds from the given seed; torch's own generators are left as they were."""
    import torch

    with torch.random.fork_rng(devices=[]):
        # torch.manual_seed would reseed every GPU as well, outside the fork.
        torch.default_generator.manual_seed(seed)
        return make()


def pretrained(kind: Any, weights: Weights, may_lack: Collection[str] = ()) -> Any:
    """A ``transformers`` model of class ``kind`` with the weights of a checkpoint folder.

    Raises:
        UsageError: the checkpoint is damaged, or lacks a parameter that is not in
            ``may_lack``, or holds one of another shape.
    """
    import torch
    from safetensors import SafetensorError

    file = check(weights)
    quiet()
    try:
        load = partial(
            kind.from_pretrained,
            str(file.parent),
            local_files_only=True,
            use_safetensors=file.suffix == ".safetensors",
            output_loading_info=True,
            dtype=torch.float32,
            trust_remote_code=False,
        )
        model, report = seeded(0, load)  # it draws what the checkpoint lacks, too
    except (*_UNREADABLE, SafetensorError) as error:
        raise UsageError(_unusable(weights, file, error)) from error
    lacking = sorted(set(report["missing_keys"]) - set(may_lack))
    if lacking:
        message = f"lacks {len(lacking)} parameters, the first is {lacking[0]}"
        raise UsageError(f"{weights.model}: {file} {message}")
    return model


def fill(model: Any, weights: Weights, *, by_order: bool = False) -> Any:
    """``model`` with the state dict in the weight file (.pth or .safetensors).

    Args:
        model: takes them.
        weights: of a file.
        by_order: its parameters have other names, but the same order and shapes.

    Raises:
        UsageError: the file is damaged or of another architecture.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    file = check(weights)
    try:
        if file.suffix == ".safetensors":
            state = load_file(file)
        else:
            state = torch.load(file, map_location="cpu", weights_only=True)
        if by_order:
            state = dict(zip(model.state_dict(), state.values(), strict=True))
        model.load_state_dict(state, strict=True)
    except (*_UNREADABLE, TypeError, AttributeError, SafetensorError) as error:
        raise UsageError(_unusable(weights, file, error)) from error
    return model


def quiet() -> None:
    """Keep transformers from drawing progress bars and reports into worker logs."""
    from transformers.utils import logging

    silence: Any = logging  # its functions carry no types
    silence.set_verbosity_error()
    silence.disable_progress_bar()


@contextmanager
def exact_inference() -> Iterator[None]:
    """No gradients, and on a GPU fp32 as it is, deterministic kernels and sums of fp32.

    TF32, cuDNN's default for convolutions, keeps 10 bits of mantissa: features would then
    depend on the batch by more than 1e-4. The environment can ask for it in products as well.
    """
    import torch

    products = torch.backends.cuda.matmul
    products.allow_tf32 = False
    products.allow_fp16_reduced_precision_reduction = False
    products.allow_bf16_reduced_precision_reduction = False

    exact = {"benchmark": False, "deterministic": True, "allow_tf32": False}
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, **exact):
        yield


def _unusable(weights: Weights, file: Path, error: Exception) -> str:
    reason = " ".join(str(error).split())[:200]
    return f"{weights.model}: {file} cannot be loaded into the network: {reason}"
