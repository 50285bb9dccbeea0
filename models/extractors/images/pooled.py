"""An image network from bytes to pooled features, without what inference does not need.

Imports torch: only ``Images.load`` may import it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Pooled(nn.Module):
    """A network that takes RGB crops of bytes."""

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        """Takes a network over.

        Args:
            model: pixels (n, 3, side, side) → features (n, width), in eval mode.
            mean: of the RGB in [0, 1] that it was trained on.
            std: the deviation of the same.
        """
        super().__init__()
        self.model = model.to(memory_format=torch.channels_last)
        self.mean, self.std = tuple(mean), tuple(std)

    def forward(self, crops: Tensor) -> Tensor:
        """Features of RGB crops (n, side, side, 3) of bytes, shape (n, width)."""
        # A transposed view of channels-last bytes is channels-last already.
        pixels = crops.permute(0, 3, 1, 2).float() / 255
        # Not buffers, which would lose digits where the module is in fewer bits.
        mean, std = (
            torch.tensor(one, device=crops.device)[:, None, None] for one in (self.mean, self.std)
        )
        features: Tensor = self.model(
            ((pixels - mean) / std).to(next(self.model.parameters()).dtype)
        )
        return features


class Vision(nn.Module):
    """A transformer of transformers: its own summary of a picture, or one from chosen layers."""

    def __init__(self, model: Any, layers: Sequence[int], side: int) -> None:
        """Takes a network over.

        Args:
            model: with a first token that stands for the picture.
            layers: hidden states whose first tokens are averaged; none for the network's own.
            side: of the pictures, pixels.
        """
        super().__init__()
        self.model, self.layers = model, tuple(layers)
        self.pools = model.config.model_type in _POOLED
        resized = model.config.model_type != "dinov2" and side != model.config.image_size
        self.more = {"interpolate_pos_encoding": True} if resized else {}

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels (n, 3, side, side) → features (n, width)."""
        given = self.model(pixels, output_hidden_states=bool(self.layers), **self.more)
        if self.layers:
            return torch.stack([given.hidden_states[one][:, 0] for one in self.layers]).mean(0)
        first: Tensor = given.last_hidden_state[:, 0]
        return given.pooler_output if self.pools else first


_POOLED = ("clip_vision_model", "dinov2")
"""Model types whose own summary is the first token behind a norm, without weights of its own."""
