"""What a speech encoder is given of a clip, where padding must not change anything.

Of wav2vec 2.0, HuBERT and WavLM the first convolution with its group norm is one product of
matrices per clip. The norm has one group per channel and its statistics run over time, so once
they are known it scales and shifts each channel. They follow from the sound itself: with ``w`` a
channel's kernel, ``m`` the mean and ``C`` the covariance of the ten samples under it over all its
steps, the channel has mean ``w m`` and variance ``w C w``. So both are found without convolving, in
double precision, from the clip alone; and scaled kernels, the shift as a tap of its own, give what
is normalised already. A clip in windows has one norm for all of them, as if it went through whole:
with each window's own, frames had a cosine of 0.85 with those of one pass
(`python -m tests.bench seam`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from meldflow.models.extractors.grid import frames_in

_BLOCK = 48_000
"""Steps that are summed at once: 15 s of sound, as much as goes through the network at once."""
_UPPER = np.uint32(0xFFFF0000)
"""The bits of a float32 that bf16 has too."""

Wave = tuple[NDArray[np.float32], NDArray[np.float32]]
"""Sound, and what was ``prepared`` of the clip that it is of."""


@dataclass(frozen=True)
class Steps:
    """Of a network that normalises each step by itself: upper bits and rest of every sample."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """What the inputs are like, with -1 where it varies."""
        return [(-1, -1), (-1, -1), (-1,)]

    def prepared(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """What has to be known of a clip as a whole, however it is cut into windows: nothing."""
        return clip[:0]

    def inputs(self, waves: Sequence[Wave], step: int = 1) -> list[NDArray[Any]]:
        """The waves as one batch, padded to a multiple of ``step`` samples; their frames last.

        Returns:
            Two arrays of shape (n_waves, n_samples), fp32, and one of shape (n_waves,), int64.
        """
        longest = -(-max(wave.size for wave, _ in waves) // step) * step
        sound = np.zeros((len(waves), longest), np.float32)
        for (wave, _), row in zip(waves, sound, strict=True):
            row[: wave.size] = wave
        return [*_halves(sound), np.array([frames_in(wave.size) for wave, _ in waves], np.int64)]


@dataclass(frozen=True, kw_only=True)
class Opening(Steps):
    """A first convolution (one channel in) and its norm."""

    kernels: NDArray[np.float64]
    """Shape (n_channels, n_samples)."""
    stride: int
    scale: NDArray[np.float64]
    """The norm's weight, shape (n_channels,)."""
    shift: NDArray[np.float64]
    """The norm's bias, shape (n_channels,)."""
    epsilon: float

    @classmethod
    def of(cls, model: Any) -> Self:
        """That of a network with group norm; a convolution's bias goes in the norm."""
        layer = model.feature_extractor.conv_layers[0]
        kernels, scale, shift = (
            one.detach().double().numpy()
            for one in (layer.conv.weight, layer.layer_norm.weight, layer.layer_norm.bias)
        )
        return cls(
            kernels=kernels[:, 0],
            stride=int(layer.conv.stride[0]),
            scale=scale,
            shift=shift,
            epsilon=float(layer.layer_norm.eps),
        )

    @property
    def taps(self) -> int:
        """Columns of ``pieces``."""
        samples: int = self.kernels.shape[1]
        return 2 * (samples + 1)

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of pieces, kernels and frames; see ``inputs``."""
        return [(-1, -1, self.taps), (-1, self.taps, len(self.kernels)), (-1,)]

    def prepared(self, clip: NDArray[np.float32]) -> NDArray[np.float32]:
        """The kernels with a clip's norm in them, shape (n_taps, n_channels)."""
        kernels, shift = self._normalised(self._unfolded(clip))
        return np.concatenate([kernels, kernels, *_halves(shift[None])])

    def inputs(self, waves: Sequence[Wave], step: int = 1) -> list[NDArray[Any]]:
        """The waves as one batch for ``models.extractors.speech.exact.Exact``.

        Every number is there twice, as its upper bits and the rest: where the network computes in
        bf16, sound of 8 bits would be too coarse.

        Args:
            waves: 16 kHz sound, 400 samples or more, shape (n_samples,) each, with the kernels
                ``prepared`` for its clip.
            step: what the batch's length in samples is a multiple of.

        Returns:
            Pieces, zero past a wave's end, shape (n_waves, n_steps, n_taps), fp32; normalised
            kernels, shape (n_waves, n_taps, n_channels), fp32; frames of each wave, shape
            (n_waves,), int64.
        """
        longest = -(-max(wave.size for wave, _ in waves) // step) * step
        pieces = np.zeros((len(waves), self._steps(longest), self.taps), np.float32)
        for (wave, _), piece in zip(waves, pieces, strict=True):
            n = self._steps(wave.size)
            upper, rest = (self._unfolded(one) for one in _halves(wave))
            piece[:n] = np.concatenate([upper, rest, np.ones((n, 2), np.float32)], axis=1)
        weights = np.stack([kernels for _, kernels in waves])
        return [pieces, weights, np.array([frames_in(wave.size) for wave, _ in waves], np.int64)]

    def _normalised(
        self, unfolded: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Kernels, shape (n_samples, n_channels), and shift, shape (n_channels,), of one wave."""
        total, square = np.zeros(unfolded.shape[1]), np.zeros((unfolded.shape[1],) * 2)
        for begin in range(0, len(unfolded), _BLOCK):
            wide = unfolded[begin : begin + _BLOCK].astype(np.float64)
            total += wide.sum(axis=0)
            square += wide.T @ wide
        mean = total / len(unfolded)
        covariance = square / len(unfolded) - np.outer(mean, mean)
        variance = np.einsum("cs,st,ct->c", self.kernels, covariance, self.kernels)
        scale = self.scale / np.sqrt(variance.clip(0) + self.epsilon)
        kernels = (self.kernels * scale[:, None]).T
        shift = self.shift - mean @ kernels
        return kernels.astype(np.float32), shift.astype(np.float32)

    def _steps(self, n_samples: int) -> int:
        taken: int = self.kernels.shape[1]
        return (n_samples - taken) // self.stride + 1

    def _unfolded(self, wave: NDArray[np.float32]) -> NDArray[np.float32]:
        """The samples under the kernel at each step, shape (n_steps, n_samples)."""
        view = np.lib.stride_tricks.sliding_window_view(wave, self.kernels.shape[1])
        return view[:: self.stride]


def _halves(values: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Upper bits and the rest of each value; their sum is exact."""
    upper = (values.view(np.uint32) & _UPPER).view(np.float32)
    return upper, values - upper
