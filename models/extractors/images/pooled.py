"""ResNet-50 from bytes to pooled features, without what inference does not need.

Imports torch: only ``ResNet50.load`` may import it.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models.resnet import Bottleneck

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
"""Mean and deviation of ImageNet's RGB in [0, 1], as torchvision's presets have them."""


class Pooled(nn.Module):
    """The network without its classifier, its batch norms folded into the convolutions.

    Folded, the same numbers come out but for rounding (below 1e-5), and no pass over the
    activations is spent on them.
    """

    def __init__(self, model: Any) -> None:
        """Takes over ``model``, a torchvision ``resnet50`` in eval mode."""
        super().__init__()
        model.fc = nn.Identity()
        _fold(model)
        self.model = model.to(memory_format=torch.channels_last)

    def forward(self, crops: Tensor) -> Tensor:
        """Features of RGB crops (n, side, side, 3) of bytes, shape (n, 2048)."""
        # A transposed view of channels-last bytes is channels-last already.
        pixels = crops.permute(0, 3, 1, 2).float() / 255
        # Not buffers, which would lose digits where the module is in fewer bits.
        mean, std = (torch.tensor(one, device=crops.device)[:, None, None] for one in (_MEAN, _STD))
        pixels = (pixels - mean) / std
        features: Tensor = self.model(pixels.to(self.model.conv1.weight.dtype))
        return features


def _fold(model: Any) -> None:
    model.conv1, model.bn1 = fuse_conv_bn_eval(model.conv1, model.bn1), nn.Identity()
    for block in model.modules():
        if isinstance(block, Bottleneck):
            for n in "123":
                conv, norm = getattr(block, f"conv{n}"), getattr(block, f"bn{n}")
                setattr(block, f"conv{n}", fuse_conv_bn_eval(conv, norm))
                setattr(block, f"bn{n}", nn.Identity())
            if block.downsample is not None:
                conv, norm = block.downsample
                block.downsample = nn.Sequential(fuse_conv_bn_eval(conv, norm))
