"""wav2vec 2.0 on a padded batch, equal to each clip alone.

The first convolution's group norm has one group per channel, so its statistics run over
time: padding changes them, and with them every frame. An attention mask comes too late to
help (pooled cosine 0.76 to 0.95 against the clip alone). Here the statistics are taken over
the valid frames only; everything after is per frame, or masked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from models.extractors.networks import exact_inference
from models.extractors.windows import frames_in

if TYPE_CHECKING:
    import torch


def hidden_states(
    model: Any, waves: Sequence[NDArray[np.float32]], layers: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Mean of the hidden states of ``layers``, per wave, shape (n_frames, 768).

    Args:
        model: a ``Wav2Vec2Model`` with group norm (the base architecture), in eval mode.
        waves: standardised 16 kHz sound, 400 samples or more each.
        layers: 0 is the input of the first transformer layer, k the output of the k-th.
    """
    import torch

    lengths, counts = [wave.size for wave in waves], [frames_in(wave.size) for wave in waves]
    padded = np.zeros((len(waves), max(lengths)), np.float32)
    for row, wave in zip(padded, waves, strict=True):
        row[: wave.size] = wave
    with exact_inference():
        hidden = _convolved(model, torch.from_numpy(padded).to(model.device), lengths)
        states = _contextual(model.encoder, hidden, counts, layers).cpu().numpy()
    return [state[:count].copy() for state, count in zip(states, counts, strict=True)]


def _convolved(model: Any, padded: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Projected local features, shape (n_waves, n_frames, 768)."""
    first, *others = model.feature_extractor.conv_layers
    (kernel,), (stride,) = first.conv.kernel_size, first.conv.stride
    hidden = first.conv(padded[:, None])
    _normalise(hidden, [(length - kernel) // stride + 1 for length in lengths], first.layer_norm)
    hidden = first.activation(hidden)
    for layer in others:
        hidden = layer(hidden)
    projected: torch.Tensor = model.feature_projection(hidden.transpose(1, 2))[0]
    return projected


def _normalise(hidden: torch.Tensor, counts: Sequence[int], norm: Any) -> None:
    """Group norm in place, over the first ``counts`` steps of each wave."""
    import torch

    for channels, count in zip(hidden, counts, strict=True):
        variance, mean = torch.var_mean(channels[:, :count], dim=1, correction=0, keepdim=True)
        scale = norm.weight[:, None] * torch.rsqrt(variance + norm.eps)
        channels.sub_(mean).mul_(scale).add_(norm.bias[:, None])


def _contextual(
    encoder: Any, hidden: torch.Tensor, counts: Sequence[int], layers: Sequence[int]
) -> torch.Tensor:
    """Mean of the wanted hidden states, shape (n_waves, n_frames, 768)."""
    import torch

    ends = torch.tensor(counts, device=hidden.device)
    valid = torch.arange(hidden.shape[1], device=hidden.device) < ends[:, None]
    mask = None if bool(valid.all()) else valid[:, None, None, :]
    # The positional convolution reads 64 frames past the end and must find zeros there.
    hidden = hidden * valid[..., None]
    hidden = encoder.layer_norm(hidden + encoder.pos_conv_embed(hidden))
    total = hidden if 0 in layers else torch.zeros_like(hidden)
    for number, layer in enumerate(encoder.layers, start=1):
        hidden = layer(hidden, attention_mask=mask)
        if number in layers:
            total = total + hidden
    return total / len(layers)
