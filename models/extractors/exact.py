"""wav2vec 2.0 on a padded batch, equal to each clip alone.

The first convolution's group norm has one group per channel, so its statistics run over
time: padding changes them, and with them every frame. An attention mask comes too late to
help (pooled cosine 0.76 to 0.95 against the clip alone). Here the statistics are taken over
the valid frames only; everything after is per frame, or masked.

Imports torch: only ``Wav2Vec2.load`` may import it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from models.extractors.windows import FRAME, HOP


class Exact(nn.Module):
    """Mean of some hidden states of a ``Wav2Vec2Model``, for waves of any lengths.

    The first convolution and its norm stay in fp32 whatever the others are in: they cost a
    hundredth of the whole, and bf16 would leave sound 8 bits.
    """

    def __init__(self, model: Any, layers: Sequence[int]) -> None:
        """Takes the parts of a model over.

        Args:
            model: a ``Wav2Vec2Model`` with group norm (the base architecture), in eval mode.
            layers: 0 is the input of the first transformer layer, k the output of the k-th; they
                are averaged.
        """
        super().__init__()
        self.model, self.layers = model, tuple(layers)
        # The weight is a product of two parameters, which would be multiplied at every pass.
        parametrize.remove_parametrizations(model.encoder.pos_conv_embed.conv, "weight")

    def forward(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Hidden states, shape (n_waves, n_frames, 768); those past a wave's end mean nothing.

        Args:
            waves: standardised 16 kHz sound, zero past its end, shape (n_waves, n_samples).
            lengths: samples of each, 400 or more, shape (n_waves,).
        """
        hidden = self._convolved(waves, lengths)
        valid = _within(hidden.shape[1], (lengths - FRAME) // HOP + 1)
        return self._contextual(hidden, valid)

    def _convolved(self, waves: Tensor, lengths: Tensor) -> Tensor:
        """Projected local features, shape (n_waves, n_frames, 768)."""
        first, *others = self.model.feature_extractor.conv_layers
        (kernel,), (stride,) = first.conv.kernel_size, first.conv.stride
        bias = None if first.conv.bias is None else first.conv.bias.float()
        hidden = nn.functional.conv1d(waves[:, None], first.conv.weight.float(), bias, stride)
        hidden = _normalised(hidden, (lengths - kernel) // stride + 1, first.layer_norm)
        hidden = first.activation(hidden).to(first.conv.weight.dtype)
        for layer in others:
            hidden = layer(hidden)
        projected: Tensor = self.model.feature_projection(hidden.transpose(1, 2))[0]
        return projected

    def _contextual(self, hidden: Tensor, valid: Tensor) -> Tensor:
        encoder = self.model.encoder
        # The positional convolution reads 64 frames past the end and must find zeros there.
        hidden = hidden * valid[..., None].to(hidden.dtype)
        hidden = encoder.layer_norm(hidden + encoder.pos_conv_embed(hidden))
        total = hidden if 0 in self.layers else torch.zeros_like(hidden)
        for number, layer in enumerate(encoder.layers, start=1):
            hidden = layer(hidden, attention_mask=valid[:, None, None, :])
            if number in self.layers:
                total = total + hidden
        mean: Tensor = total / len(self.layers)
        return mean


def _within(size: int, counts: Tensor) -> Tensor:
    """Whether a step is one of the first ``counts``, shape (n_waves, size)."""
    return torch.arange(size, device=counts.device)[None, :] < counts[:, None]


def _normalised(hidden: Tensor, counts: Tensor, norm: Any) -> Tensor:
    """Group norm over the first ``counts`` steps of each wave, shape (n_waves, channels, steps)."""
    valid = _within(hidden.shape[2], counts)[:, None, :].to(hidden.dtype)
    n = counts[:, None, None].to(hidden.dtype)
    mean = (hidden * valid).sum(2, keepdim=True) / n
    centred = hidden - mean
    variance = (centred.square() * valid).sum(2, keepdim=True) / n
    scale = norm.weight.float()[:, None] * torch.rsqrt(variance + norm.eps)
    normalised: Tensor = centred * scale + norm.bias.float()[:, None]
    return normalised
