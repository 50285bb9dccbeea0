"""The published reference network: three BiLSTMs, attention over modalities, one layer."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from meldflow.models.networks.fitted import Output
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
