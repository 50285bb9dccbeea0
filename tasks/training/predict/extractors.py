"""The extractors of a model, as they were when it was trained.

Features of other weights, parameters or versions are other numbers, which the model would answer
for without a word; so a key that differs from the model's is an error.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from meldflow.models.extractors import registry
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.entries import known, named
from meldflow.models.running.computing import Computing
from meldflow.models.schema.errors import UsageError


def rebuilt(
    name: str, key: str, weights: str, parameters: Mapping[str, Any], checkpoint: str = ""
) -> Extractor:
    """The extractor as it was in training; ``checkpoint`` is that of an instance.

    Raises:
        UsageError: it cannot be had.
    """
    kind = parameters.get("kind")
    instances = {name: f"{kind} {checkpoint}"} if kind and checkpoint else {}
    if weights == "folder" and not instances:
        raise UsageError(
            f"{name}: the model was trained with weights of your own, revision "
            f"{key.rpartition('+')[2]}; name them: --weights {name}=PATH"
        )
    # Of one without weights it looks for none, and an instance's folder is its checkpoint.
    weights = "pretrained" if weights in ("none", "folder") else weights
    own, decoding = named(name, known(instances)).parted(parameters)
    (built,) = registry.build([name], {}, weights, {name: own}, decoding, instances)
    computing = Computing.of(parameters)
    if computing is not None:
        if why := computing.refusal("cpu"):
            raise UsageError(f"{name}: the model's features were computed by {computing}: {why}")
        built = replace(built, computing=computing)
    if built.spec.key != key:
        raise UsageError(_differs(name, key, built.spec.key))
    return built


def _differs(name: str, trained: str, here: str) -> str:
    """Why a key is not the model's, and what to do about it."""
    line = f"{name}: the model was trained on {trained}, here it would be {here}"
    if trained.rpartition("+")[0] == here.rpartition("+")[0]:
        return f"{line}, with other weights; name the right ones: --weights {name}=PATH"
    return (
        f"{line}, another version or other parameters of the extractor; extract and train anew, "
        "or use the release of meldflow that the model was trained with"
    )
