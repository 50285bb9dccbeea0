"""wav2vec 2.0 on a padded batch, equal to each clip alone.

The first convolution's group norm has one group per channel, so its statistics run over time:
padding changes them, and with them every frame. An attention mask comes too late to help (pooled
cosine 0.76 to 0.95 against the clip alone). Here the statistics are each clip's own, known before
the network runs: ``models.extractors.wav2vec2.opening`` folds them into the convolution's weights.
Everything after is per frame, or masked.

Imports torch: only ``Wav2Vec2.load`` may import it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Exact(nn.Module):
    """Mean of some hidden states of a ``Wav2Vec2Model``, for sounds of any lengths."""

    def __init__(self, model: Any, layers: Sequence[int]) -> None:
        """Takes the parts of a model over.

        Args:
            model: a ``Wav2Vec2Model`` with group norm (the base architecture), in eval mode.
            layers: 0 is the input of the first transformer layer, k the output of the k-th; they
                are averaged.
        """
        super().__init__()
        first, *others = model.feature_extractor.conv_layers
        self.activation = first.activation
        self.strided = nn.ModuleList([_Strided(one.conv, one.activation) for one in others])
        self.projection = model.feature_projection
        self.encoder, self.layers = model.encoder, tuple(layers)
        # The weight is a product of two parameters, which would be multiplied at every pass.
        parametrize.remove_parametrizations(self.encoder.pos_conv_embed.conv, "weight")

    def forward(self, pieces: Tensor, weights: Tensor, n_frames: Tensor) -> Tensor:
        """Hidden states, shape (n_waves, n_frames, 768); those past a wave's end mean nothing.

        Args:
            pieces: what the first convolution sees at each step, shape (n_waves, n_steps, n_taps).
            weights: those of the first convolution, normalised for each wave, shape
                (n_waves, n_taps, 512).
            n_frames: frames of each, shape (n_waves,).
        """
        dtype = self.encoder.layer_norm.weight.dtype
        hidden = self.activation(torch.matmul(pieces.to(dtype), weights.to(dtype)))
        for convolution in self.strided:
            hidden = convolution(hidden)
        hidden = self.projection(hidden)[0]
        valid = torch.arange(hidden.shape[1], device=hidden.device)[None, :] < n_frames[:, None]
        return self._contextual(hidden, valid)

    def _contextual(self, hidden: Tensor, valid: Tensor) -> Tensor:
        # The positional convolution reads 64 frames past the end and must find zeros there.
        hidden = hidden * valid[..., None].to(hidden.dtype)
        hidden = self.encoder.layer_norm(hidden + self.encoder.pos_conv_embed(hidden))
        total = hidden if 0 in self.layers else torch.zeros_like(hidden)
        for number, layer in enumerate(self.encoder.layers, start=1):
            hidden = layer(hidden, attention_mask=valid[:, None, None, :])
            if number in self.layers:
                total = total + hidden
        mean: Tensor = total / len(self.layers)
        return mean


class _Strided(nn.Module):
    """A convolution over time of stride 2 and two or three taps, as products of matrices.

    Two steps side by side are one row for its first two taps, without a copy. As a convolution,
    the same took half as much again by OpenVINO, most of it for changing the order of axes.
    """

    def __init__(self, convolution: Any, activation: Any) -> None:
        """Takes over an ``nn.Conv1d``."""
        super().__init__()
        self.taps = int(convolution.kernel_size[0])
        if convolution.stride != (2,) or self.taps not in (2, 3):
            raise ValueError(f"{convolution} is no convolution of wav2vec 2.0")
        kernel = convolution.weight.detach()
        self.pair = _linear(kernel[..., :2].transpose(1, 2).flatten(1), convolution.bias)
        self.third = _linear(kernel[..., 2], None) if self.taps == 3 else None
        self.activation = activation

    def forward(self, hidden: Tensor) -> Tensor:
        """Shape (n_waves, n_steps, 512) → (n_waves, n_steps // 2 or one less, 512)."""
        waves, steps, channels = hidden.shape
        n = (steps - self.taps) // 2 + 1
        convolved = self.pair(hidden[:, : 2 * n].reshape(waves, n, 2 * channels))
        if self.third is not None:
            convolved = convolved + self.third(hidden[:, 2 : 2 * n + 1 : 2])
        activated: Tensor = self.activation(convolved)
        return activated


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    with torch.device("meta"):  # initial values would cost time, and random numbers
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    layer.weight = nn.Parameter(weight.contiguous(), requires_grad=False)
    if bias is not None:
        layer.bias = nn.Parameter(bias.detach(), requires_grad=False)
    return layer
