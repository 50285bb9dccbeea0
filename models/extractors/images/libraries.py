"""Image networks by the library that has them: transformers, timm or torchvision.

Which one it is shows in a checkpoint's configuration. Nothing heavy is imported before a network
of torchvision or timm is asked for.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from math import floor
from typing import Any, NamedTuple

from meldflow.models.extractors.encoder import CONFIG, INPUTS, Encoder
from meldflow.models.schema.errors import UsageError
from meldflow.models.weights.find import seed
from meldflow.models.weights.load import fill, seeded
from meldflow.models.weights.sources import PublishedModel

TORCHVISION = "torchvision"
_RESIDUAL_SCALE = 0.25
"""Scale of each residual branch with random weights. At 1 the variance doubles with each of
the 16 blocks and features leave float16's range; at 0 all blocks do nothing."""
_VISION = {"clip": "CLIPVisionModel"}
"""Model type of networks that read, too → class of the part that sees."""


class Prepared(NamedTuple):
    """How a network's pictures are made."""

    short_side: int
    """Shorter side before the crop, pixels."""
    crop: int
    """Side of the square cut from the middle, pixels."""
    mean: tuple[float, ...]
    std: tuple[float, ...]


def prepared(settings: Mapping[str, Any]) -> Prepared:
    """What the files beside a checkpoint say of its pictures.

    Raises:
        KeyError: they do not say it.
    """
    config = settings[CONFIG]
    if "model_type" not in config:
        own = config["pretrained_cfg"]
        crop = int(own["input_size"][-1])
        short = floor(crop / own.get("crop_pct", 1.0))
    else:
        own = settings[INPUTS]
        short, crop = (_side(own.get(one) or own["size"]) for one in ("size", "crop_size"))
    mean, std = (own.get(one) or own[f"image_{one}"] for one in ("mean", "std"))
    return Prepared(short, crop, tuple(mean), tuple(std))


def _side(size: Any) -> int:
    return int(size if isinstance(size, int) else next(iter(size.values())))


def network(extractor: Encoder, layers: Sequence[int], side: int) -> Any:
    """Pixels (n, 3, side, side) → features (n, width), in eval mode and fp32 on the CPU.

    Args:
        extractor: whose network it is.
        layers: hidden states whose first tokens are averaged, of transformers.
        side: of the pictures, pixels.
    """
    config = extractor.settings()[CONFIG]
    if "model_type" in config:
        return _of_transformers(extractor, config, layers, side).eval()
    return (_of_torchvision if TORCHVISION in config else _of_timm)(extractor, config).eval()


def _of_transformers(
    extractor: Encoder, config: Mapping[str, Any], layers: Sequence[int], side: int
) -> Any:
    import transformers

    from meldflow.models.extractors.images.pooled import Vision

    kind = _VISION.get(config["model_type"])
    model = extractor.transformer(getattr(transformers, kind) if kind else None)
    return Vision(model, layers, side)


def _of_timm(extractor: Encoder, config: Mapping[str, Any]) -> Any:
    timm = _imported("timm")
    model = filled(extractor, lambda: timm.create_model(config["architecture"]), config)
    model.reset_classifier(0)
    return model


def _of_torchvision(extractor: Encoder, config: Mapping[str, Any]) -> Any:
    from torch import nn
    from torchvision import models

    model = filled(extractor, lambda: untrained(config[TORCHVISION]), config)
    name = _classifier(model)
    parent, _, last = name.rpartition(".")
    setattr(model.get_submodule(parent), last, nn.Identity())
    if isinstance(model, models.ResNet):
        _fold(model)
    return model


def published(model: str) -> PublishedModel:
    """Where a network of torchvision is found, e.g. ``torchvision/resnet50-IMAGENET1K_V2``.

    Raises:
        UsageError: torchvision has none of that name.
    """
    import torch
    from torchvision import models

    name, _, wanted = model.partition("/")[2].rpartition("-")
    try:
        weights = models.get_model_weights(name)[wanted]
    except (ValueError, KeyError) as error:
        raise UsageError(f"{model}: torchvision has no such weights ({error})") from error
    steps = weights.transforms()
    with torch.device("meta"):  # its width alone is asked for: no numbers are drawn for it
        made = untrained(name)
    (crop,), (short,) = steps.crop_size, steps.resize_size
    file = weights.url.rpartition("/")[2]
    return PublishedModel(
        model=model,
        files=(file, "model.safetensors"),
        url=weights.url,
        digest=file.rpartition("-")[2].partition(".")[0],
        architecture={
            TORCHVISION: name,
            "num_features": made.get_submodule(_classifier(made)).in_features,
            "pretrained_cfg": {
                "input_size": [3, crop, crop],
                "crop_pct": crop / short,
                "mean": list(steps.mean),
                "std": list(steps.std),
            },
        },
    )


def filled(extractor: Encoder, make: Callable[[], Any], config: Mapping[str, Any]) -> Any:
    """What ``make`` gives, with the extractor's weights."""
    number = seed(extractor.weights)
    if number is not None:
        return seeded(number, make)
    return fill(seeded(0, make), extractor.weights, by_order=bool(config.get("by_order")))


def untrained(name: str) -> Any:
    """A network of torchvision, untrained."""
    import torch
    from torchvision import models
    from torchvision.models.resnet import Bottleneck

    model = models.get_model(name)
    for module in model.modules():
        if isinstance(module, Bottleneck):
            torch.nn.init.constant_(module.bn3.weight, _RESIDUAL_SCALE)
    return model


def _classifier(model: Any) -> str:
    """The name of the last layer, which tells classes apart."""
    from torch import nn

    *_, last = (name for name, one in model.named_modules() if isinstance(one, nn.Linear))
    return str(last)


def _fold(model: Any) -> None:
    """A ResNet's batch norms folded into its convolutions.

    The same numbers come out but for rounding (below 1e-5), and no pass over the activations is
    spent on them.
    """
    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    model.eval()
    model.conv1, model.bn1 = fuse_conv_bn_eval(model.conv1, model.bn1), nn.Identity()
    for block in model.modules():
        for n in "123" if hasattr(block, "downsample") else "":
            if hasattr(block, f"conv{n}"):
                conv, norm = getattr(block, f"conv{n}"), getattr(block, f"bn{n}")
                setattr(block, f"conv{n}", fuse_conv_bn_eval(conv, norm))
                setattr(block, f"bn{n}", nn.Identity())
        if getattr(block, "downsample", None) is not None:
            conv, norm = block.downsample
            block.downsample = nn.Sequential(fuse_conv_bn_eval(conv, norm))


def _imported(library: str) -> Any:
    try:
        return importlib.import_module(library)
    except ImportError as error:
        raise UsageError(f"no {library} here ({error}); install meldflow[{library}]") from error
