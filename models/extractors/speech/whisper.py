"""``audio/whisper``: what Whisper's encoder makes of sound.

Radford et al., "Robust Speech Recognition via Large-Scale Weak Supervision", ICML 2023. The encoder
was trained on pieces of 30 seconds, silence behind what is shorter; given the sound alone it says
something else (mean cosine of the rows 0.94 in clips of MELD's length), eleven times as fast.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from annotated_types import Ge, Gt, Le
from numpy.typing import NDArray

from meldflow.models.extractors.encoder import CONFIG, INPUTS
from meldflow.models.extractors.speech.extractor import Loaded, Speech
from meldflow.models.extractors.speech.opening import Steps, Wave
from meldflow.models.weights.ctranslate2 import whisper_state
from meldflow.models.weights.find import check, seed
from meldflow.models.weights.load import quiet

_PIECE = 480_000
"""Samples of 30 seconds."""


@dataclass(frozen=True, kw_only=True)
class Whisper(Speech):
    """Frames of Whisper's encoder and their mean."""

    kind: ClassVar[str] = "audio/whisper"
    may_lack: ClassVar[tuple[str, ...]] = ()

    padded: bool = True
    """Whether sound is filled up to 30 seconds with silence, as Whisper was trained."""
    window_seconds: Annotated[float, Gt(0), Le(30)] = 30.0
    """Longer clips go through the network in windows of this length. Behind a seam frames are other
    ones: those of the last layer depend on when in the 30 seconds something is said."""
    overlap_seconds: Annotated[float, Ge(0)] = 5.0
    """What neighbouring windows share at least."""

    def network(self) -> Any:
        """Transformers' ``WhisperModel``, whole, in eval mode and fp32 on the CPU."""
        if Path(self.weights.location).name != "model.bin" or seed(self.weights) is not None:
            return self.transformer()
        import torch
        from transformers import AutoConfig, AutoModel

        quiet()
        config = AutoConfig.for_model(**self.settings()[CONFIG])
        with torch.device("meta"):
            model = AutoModel.from_config(config)
        state = whisper_state(check(self.weights))
        model.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, assign=True)
        return model.eval()

    def load(self, device: str) -> Any:
        """The encoder, without the layers above the last one wanted."""
        from transformers import WhisperFeatureExtractor

        from meldflow.models.extractors.speech.exact import Listening

        model = self.network()
        given = self.settings().get(INPUTS, {"feature_size": model.config.num_mel_bins})
        front = Mel(WhisperFeatureExtractor(**given), self.padded)
        network = self._ready(front, Listening(model.encoder, self.layers), device)
        least = _PIECE if self.padded else 0
        return Loaded(front, network, pads=self.padded, normalised=False, least=least)


@dataclass(frozen=True)
class Mel(Steps):
    """Log-mel spectra, as transformers makes them of each window."""

    extractor: Any
    padded: bool

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of the spectra; see ``inputs``."""
        return [(-1, self.extractor.feature_size, 3000 if self.padded else -1)]

    def inputs(self, waves: Sequence[Wave], step: int = 1) -> list[NDArray[Any]]:
        """Spectra, shape (n_waves, n_bands, n_steps), fp32."""
        padding = "max_length" if self.padded else "longest"
        sounds = [wave for wave, _ in waves]
        made = self.extractor(sounds, sampling_rate=16_000, padding=padding, return_tensors="np")
        return [np.ascontiguousarray(made["input_features"], np.float32)]
