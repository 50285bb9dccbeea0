"""The published reference network: three BiLSTMs, attention over modalities, one layer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.common import Output
from meldflow.models.networks.reference.config import ReferenceConfig
from meldflow.models.networks.reference.inputs import Inputs, arrange, raw_inputs
from meldflow.models.networks.reference.inputs import prepare as prepare
from meldflow.models.networks.scaling import scalers_of
from meldflow.models.networks.training import Untrained, View
from meldflow.models.schema.utterances import EMOTIONS

WIDTH = 512
"""Length of every modality's vector, and of the fused one."""
PARTS = 25
"""Length of the MFCC vector and of the repeated scalars, before projection."""
PARAMETERS = 5_813_255
"""Trainable parameters of the published network, which has seven classes."""
ATTENDED = ("audio", "text", "video")
"""Modalities in the order of the attention's rows and columns."""


class Vectors(NamedTuple):
    """Inputs of the network, one row per utterance; see ``models.networks.reference.inputs``."""

    voice: Tensor
    """wav2vec2 vectors, shape (batch, 512)."""
    mfcc: Tensor
    """MFCC means, shape (batch, 25)."""
    scalars: Tensor
    """Five scalars repeated five times, shape (batch, 25)."""
    text: Tensor
    """Sentence vectors, shape (batch, 512)."""
    video: Tensor
    """Frame vectors, shape (batch, 512)."""


class ReferenceNetwork(nn.Module):
    """The reference architecture, to the parameter (5,813,255).

    Every modality is a sequence of one vector, as published, so a BiLSTM acts as a gated
    layer and its recurrent weights see a zero state. Audio is the sum of the voice vector,
    the projected MFCC and the projected scalars, each scaled by a learned vector.

    Sources: Hochreiter & Schmidhuber 1997 (LSTM), Vaswani et al. 2017 (attention).
    """

    def __init__(self, dropout: float = 0.0, classes: int = len(EMOTIONS)) -> None:
        super().__init__()
        self.audio_lstm = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.text_lstm = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.video_lstm = nn.LSTM(WIDTH, WIDTH // 2, batch_first=True, bidirectional=True)
        self.attention = nn.MultiheadAttention(WIDTH, 8, dropout=dropout, batch_first=True)
        self.project_V3 = nn.Linear(PARTS, WIDTH)
        self.project_V4 = nn.Linear(PARTS, WIDTH)
        self.scale_voice = nn.Parameter(torch.ones(WIDTH))
        self.scale_mfcc = nn.Parameter(torch.ones(WIDTH))
        self.scale_scalars = nn.Parameter(torch.ones(WIDTH))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(WIDTH, classes)

    def forward(self, batch: Vectors) -> Output[Tensor]:
        """What it gives for a batch; the SVM sees the mean over the attended vectors."""
        audio = (
            self.scale_voice * batch.voice
            + self.scale_mfcc * self.project_V3(batch.mfcc)
            + self.scale_scalars * self.project_V4(batch.scalars)
        )
        encoders = (self.audio_lstm, self.text_lstm, self.video_lstm)
        vectors = zip(encoders, (audio, batch.text, batch.video), strict=True)
        modalities = torch.cat([lstm(vector[:, None, :])[0] for lstm, vector in vectors], dim=1)
        attended, weights = self.attention(modalities, modalities, modalities)
        fused = attended.mean(dim=1)
        return Output(self.fc(self.dropout(fused)), fused, weights.mean(dim=1))


def untrained(inputs: Inputs, config: ReferenceConfig, classes: int) -> Untrained:
    """The reference network before its training, for ``models.networks.training.fit``."""
    return Untrained(
        make=lambda: ReferenceNetwork(config.dropout, classes),
        view=_view(inputs.values),
        attended=ATTENDED,
    )


def build(
    described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[torch.nn.Module, Callable[[FeatureTable], View]]:
    """The network that a saved model describes; see ``meldflow.models.training.networks``."""
    scalers, seed = scalers_of(arrays), described["config"]["projection_seed"]

    def view(table: FeatureTable) -> View:
        return _view(arrange(raw_inputs(table), scalers, seed))

    return ReferenceNetwork(classes=len(described["classes"])), view


def _view(arrays: Mapping[str, NDArray[np.float32]]) -> View:
    """Every row is seen by itself."""

    def batch(some: Sequence[NDArray[np.intp]], device: torch.device) -> Vectors:
        rows = np.concatenate(some)
        return Vectors(
            *(torch.from_numpy(arrays[name][rows]).to(device) for name in Vectors._fields)
        )

    n = len(arrays["text"])
    return View(groups=list(np.arange(n, dtype=np.intp)[:, None]), batch=batch, at_once=1024)
