"""Speech encoders on a padded batch, equal to each clip alone.

wav2vec 2.0, HuBERT and WavLM begin with a group norm that has one group per channel, so its
statistics run over time: padding changes them, and with them every frame. An attention mask comes
too late to help (pooled cosine 0.76 to 0.95 against the clip alone). Here the statistics are each
clip's own, known before the network runs: ``models.extractors.speech.opening`` folds them into the
convolution's weights. Large networks and data2vec normalise each step by itself and need no such
thing. Everything after is per frame, or masked; only WavLM, whose attention adds a bias of its own
to no mask of ours, gets clips of one length at a time.

Imports torch: only ``Speech.load`` may import it.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize


class Exact(nn.Module):
    """Mean of some hidden states of a speech encoder, for sounds of any lengths."""

    def __init__(self, model: Any, layers: Sequence[int]) -> None:
        """Takes the parts of a model over.

        Args:
            model: of wav2vec 2.0's architecture, in eval mode.
            layers: 0 is the input of the first transformer layer, k the output of the k-th; they
                are averaged.
        """
        super().__init__()
        config, convolutions = model.config, model.feature_extractor.conv_layers
        self.ears = _Grouped(convolutions) if is_grouped(model) else _Stepwise(convolutions)
        self.projection = model.feature_projection
        self.encoder, self.layers = model.encoder, tuple(layers)
        self.stable = getattr(config, "do_stable_layer_norm", False)
        self.gated, self.depth = config.model_type == "wavlm", config.num_hidden_layers
        positional = self.encoder.pos_conv_embed
        self.stacked = hasattr(positional, "layers")
        # The weight is a product of two parameters, which would be multiplied at every pass.
        if not self.stacked and parametrize.is_parametrized(positional.conv):
            parametrize.remove_parametrizations(positional.conv, "weight")

    def forward(self, *inputs: Tensor) -> Tensor:
        """Hidden states, shape (n_waves, n_frames, width); those past a wave's end mean nothing.

        Args:
            inputs: what ``Opening.inputs`` or ``Steps.inputs`` gives, the frames of each wave last.
        """
        *sound, n_frames = inputs
        hidden = self.projection(self.ears(*sound))
        hidden = hidden[0] if isinstance(hidden, tuple) else hidden
        valid = torch.arange(hidden.shape[1], device=hidden.device)[None, :] < n_frames[:, None]
        return self._contextual(hidden, valid)

    def _contextual(self, hidden: Tensor, valid: Tensor) -> Tensor:
        # The positional convolutions read past the end and must find zeros there.
        there = valid[..., None].to(hidden.dtype)
        hidden = hidden * there
        hidden = hidden + self._position(hidden, there)
        if not self.stable:
            hidden = self.encoder.layer_norm(hidden)
        states, bias = [hidden], None  # of positions, which WavLM's first layer finds for all
        for layer in self.encoder.layers:
            if self.gated:
                hidden, bias = layer(hidden, position_bias=bias)
            else:
                hidden = layer(hidden, attention_mask=valid[:, None, None, :])
            states.append(hidden)
        if self.stable and len(states) > self.depth:
            states[-1] = self.encoder.layer_norm(hidden)
        return _mean([states[one] for one in self.layers])

    def _position(self, hidden: Tensor, there: Tensor) -> Tensor:
        """What the positional convolutions give; data2vec's are several, one after another."""
        if not self.stacked:
            position: Tensor = self.encoder.pos_conv_embed(hidden)
            return position
        for part in self.encoder.pos_conv_embed.layers:
            hidden = part(hidden.transpose(1, 2)).transpose(1, 2) * there
        return hidden


class Listening(nn.Module):
    """Mean of some hidden states of Whisper's encoder."""

    def __init__(self, encoder: Any, layers: Sequence[int]) -> None:
        """Takes an encoder over; ``layers`` as of ``Exact``."""
        super().__init__()
        self.encoder, self.layers, self.depth = encoder, tuple(layers), len(encoder.layers)
        encoder.layers = encoder.layers[: self.layers[-1]]

    def forward(self, spectra: Tensor) -> Tensor:
        """Spectra (n_waves, n_bands, n_steps) → hidden states (n_waves, n_steps / 2, width)."""
        encoder, gelu = self.encoder, nn.functional.gelu
        hidden = gelu(encoder.conv2(gelu(encoder.conv1(spectra.to(encoder.conv1.weight.dtype)))))
        hidden = hidden.transpose(1, 2)
        hidden = hidden + encoder.embed_positions.weight[: hidden.shape[1]]
        states = [hidden]
        states += [hidden := layer(hidden, None) for layer in encoder.layers]
        if len(states) > self.depth:
            states[-1] = encoder.layer_norm(hidden)
        return _mean([states[one] for one in self.layers])


def _mean(states: Sequence[Tensor]) -> Tensor:
    return sum(states, start=torch.zeros_like(states[0])) / len(states)


def pads(model: Any) -> bool:
    """Whether clips of different lengths may share a batch: WavLM's attention takes no mask."""
    return model.config.model_type != "wavlm"  # type: ignore[no-any-return]


def is_grouped(model: Any) -> bool:
    """Whether a network's first norm runs over time."""
    return getattr(model.config, "feat_extract_norm", "layer") == "group"


class _Grouped(nn.Module):
    """The convolutions, the first of which comes normalised."""

    def __init__(self, convolutions: Any) -> None:
        super().__init__()
        first, *others = convolutions
        self.activation = first.activation
        self.strided = nn.ModuleList([_Strided(one.conv, one.activation) for one in others])

    def forward(self, pieces: Tensor, weights: Tensor) -> Tensor:
        """Shape (n_waves, n_frames, n_channels).

        Args:
            pieces: what the first convolution sees at each step, shape (n_waves, n_steps, n_taps).
            weights: its own, normalised for each wave, shape (n_waves, n_taps, n_channels).
        """
        dtype = next(self.strided.parameters()).dtype
        hidden: Tensor = self.activation(torch.matmul(pieces.to(dtype), weights.to(dtype)))
        for convolution in self.strided:
            hidden = convolution(hidden)
        return hidden


class _Stepwise(nn.Module):
    """The convolutions of a network that normalises each step by itself."""

    def __init__(self, convolutions: Any) -> None:
        super().__init__()
        self.convolutions = convolutions

    def forward(self, upper: Tensor, rest: Tensor) -> Tensor:
        """Shape (n_waves, n_frames, n_channels), from the two parts of every sample."""
        first, *others = self.convolutions
        conv, dtype = first.conv, first.conv.weight.dtype
        hidden: Tensor = conv(upper.to(dtype)[:, None]) + nn.functional.conv1d(
            rest.to(dtype)[:, None], conv.weight, stride=conv.stride
        )
        hidden = first.activation(first.layer_norm(hidden.transpose(1, 2)).transpose(1, 2))
        for convolution in others:
            hidden = convolution(hidden)
        return hidden.transpose(1, 2)


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
