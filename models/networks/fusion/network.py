"""Context fusion: modalities as sequences, attention across them, and the dialogue around."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pack_sequence, pad_packed_sequence

from meldflow.models.judging.table import FeatureTable
from meldflow.models.networks.common import Output
from meldflow.models.networks.fusion.config import FusionConfig
from meldflow.models.networks.fusion.inputs import Inputs, assemble
from meldflow.models.networks.fusion.inputs import prepare as prepare
from meldflow.models.networks.scaling import scalers_of
from meldflow.models.networks.training import Untrained, View
from meldflow.models.schema.utterances import EMOTIONS

NOTHING = "none there"
"""What an utterance without any modality is given to look at."""


class Dialogues(NamedTuple):
    """Some dialogues: the utterances of all of them one after another, m in number."""

    values: dict[str, Tensor]
    """Modality → sequences, shape (m, steps, width)."""
    steps: dict[str, Tensor]
    """Modality → how many of its steps each utterance has, 0 for a missing one, shape (m,)."""
    speaker: Tensor
    """Number of each utterance's speaker, shape (m,)."""
    lengths: Tensor
    """Utterances of each dialogue, sum m, shape (dialogues,)."""


class FusionNetwork(nn.Module):
    """One vector per modality, attention across them, a GRU over the dialogue, one layer.

    What an utterance gives depends on its own dialogue alone, whatever else is in the batch,
    and in the causal variant on nothing that was said after it.

    Sources: Cho et al. 2014 (GRU), Vaswani et al. 2017 (attention), Poria et al. 2017
    (utterances in the context of their dialogue).

    Args:
        shapes: modality → most steps of an utterance, and length of a step's vector.
        speakers: how many have a vector of their own.
        config: widths, dropout and direction.
        classes: how many are told apart.
    """

    def __init__(
        self,
        shapes: Mapping[str, tuple[int, int]],
        speakers: int,
        config: FusionConfig,
        classes: int = len(EMOTIONS),
    ) -> None:
        super().__init__()
        own, both = config.width, 1 if config.causal else 2
        self.modality_dropout = config.modality_dropout
        self.encoders = nn.ModuleDict({m: _Encoder(*shape, config) for m, shape in shapes.items()})
        self.mixer = _Mixer(tuple(shapes), config)
        self.speaker = nn.Embedding(speakers + 1, config.speaker_width)
        self.dialogue = nn.GRU(
            own + config.speaker_width, own // both, batch_first=True, bidirectional=both == 2
        )
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(2 * own + config.speaker_width, classes)

    def forward(self, batch: Dialogues) -> Output[Tensor]:
        """What it gives for a batch.

        The SVM sees utterance, dialogue and speaker side by side. Attention is over the modalities
        and ``NOTHING``, which is all there is to see of an utterance without any modality.
        """
        present = torch.stack([batch.steps[m] > 0 for m in self.encoders], dim=1)
        if self.training and self.modality_dropout:
            present = keep_some(present, self.modality_dropout)
        vectors = [encoder(batch.values[m], batch.steps[m]) for m, encoder in self.encoders.items()]
        utterance, attention = self.mixer(torch.stack(vectors, dim=1), present)
        utterance, speaker = self.dropout(utterance), self.speaker(batch.speaker)
        said = torch.cat([utterance, speaker], dim=1)
        state = self.dropout(over_dialogues(self.dialogue, said, batch.lengths))
        fused = torch.cat([utterance, state, speaker], dim=1)
        return Output(self.head(fused), fused, attention)


class _Encoder(nn.Module):
    """A sequence becomes one vector: a BiLSTM, and what it says weighed by attention.

    Where a modality is one vector from the start, a layer is all there is.
    """

    def __init__(self, steps: int, width: int, config: FusionConfig) -> None:
        super().__init__()
        own = config.width
        self.input_dropout = nn.Dropout(config.input_dropout)
        self.project = nn.Linear(width, own)
        self.norm = nn.LayerNorm(own)
        self.lstm = (
            nn.LSTM(own, own // 2, batch_first=True, bidirectional=True) if steps > 1 else None
        )
        self.score = nn.Linear(own, 1) if steps > 1 else None

    def forward(self, values: Tensor, steps: Tensor) -> Tensor:
        """Vectors of shape (m, own) from ``values`` (m, steps, width)."""
        hidden = nn.functional.gelu(self.norm(self.project(self.input_dropout(values))))
        if self.lstm is None or self.score is None:
            return hidden[:, 0]
        states = over_sequences(self.lstm, hidden, steps)
        there = torch.arange(values.shape[1], device=steps.device) < steps.clamp(min=1)[:, None]
        weights = self.score(states)[..., 0].masked_fill(~there, -torch.inf).softmax(dim=1)
        return torch.einsum("ms,msd->md", weights, states)


class _Mixer(nn.Module):
    """Modalities attend to one another; what is missing is seen by nobody."""

    def __init__(self, modalities: tuple[str, ...], config: FusionConfig) -> None:
        super().__init__()
        own = config.width
        # A modality alone has nobody to attend to: it passes.
        self.attention = (
            nn.MultiheadAttention(own, config.heads, dropout=config.dropout, batch_first=True)
            if len(modalities) > 1
            else None
        )
        self.kind = nn.Parameter(torch.zeros(len(modalities), own))
        self.nothing = nn.Parameter(torch.zeros(own))
        self.norm = nn.LayerNorm(own)

    def forward(self, vectors: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
        """Utterance vectors (m, own) and what they attend to (m, modalities + 1).

        Args:
            vectors: shape (m, modalities, own).
            present: which of them there are, shape (m, modalities).
        """
        none = ~present.any(dim=1, keepdim=True)
        seen = torch.cat([present, none], dim=1)
        nothing = self.nothing.expand(len(vectors), 1, -1)
        tokens = torch.cat([vectors + self.kind, nothing], dim=1)
        share = seen.to(vectors.dtype) / seen.sum(dim=1, keepdim=True)
        if self.attention is None:
            return self.norm(torch.einsum("mk,mkd->md", share, tokens)), share
        attended, weights = self.attention(tokens, tokens, tokens, key_padding_mask=~seen)
        mixed = self.norm(tokens + attended)
        return (
            torch.einsum("mk,mkd->md", share, mixed),
            torch.einsum("mq,mqk->mk", share, weights),
        )


def dialogues_of(
    inputs: Inputs, dialogues: Sequence[NDArray[np.intp]], device: torch.device | str = "cpu"
) -> Dialogues:
    """``dialogues``, each given by its rows of ``inputs`` in order, as the network sees them."""
    rows = np.concatenate(dialogues)

    def moved(values: NDArray[Any]) -> Tensor:
        return torch.from_numpy(values[rows]).to(device)

    streams = inputs.streams.items()
    return Dialogues(
        values={name: moved(stream.values).float() for name, stream in streams},
        steps={name: moved(stream.steps) for name, stream in streams},
        speaker=moved(inputs.speaker),
        lengths=torch.tensor([len(one) for one in dialogues]),
    )


def keep_some(present: Tensor, rate: float) -> Tensor:
    """``present`` with entries taken away at ``rate``; a row never loses its last one."""
    order = torch.rand(present.shape, device=present.device).masked_fill(~present, 2.0)
    kept = (torch.rand(present.shape, device=present.device) >= rate) & present
    survivor = nn.functional.one_hot(order.argmin(dim=1), present.shape[1]).bool() & present
    return kept | survivor


def over_sequences(network: nn.LSTM, values: Tensor, steps: Tensor) -> Tensor:
    """States of an LSTM over the first ``steps`` of each row, 0 beyond, shape (m, steps, own).

    A row without any step is run over its first, whose value nobody uses.
    """
    packed = pack_padded_sequence(
        values, steps.clamp(min=1).cpu(), batch_first=True, enforce_sorted=False
    )
    states, _ = pad_packed_sequence(
        network(packed)[0], batch_first=True, total_length=values.shape[1]
    )
    return states


def over_dialogues(network: nn.GRU, utterances: Tensor, lengths: Tensor) -> Tensor:
    """States of a GRU that runs over each dialogue by itself, shape (m, own).

    Of ``utterances`` (m, width), those of all dialogues one after another, each dialogue has the
    next of ``lengths``, at least 1.
    """
    dialogues = torch.split(utterances, lengths.tolist())
    packed = pack_sequence(list(dialogues), enforce_sorted=False)
    states, _ = pad_packed_sequence(network(packed)[0], batch_first=True)
    there = torch.arange(states.shape[1], device=states.device) < lengths.to(states.device)[:, None]
    return states[there]


def untrained(inputs: Inputs, config: FusionConfig, classes: int) -> Untrained:
    """Context fusion before its training, for ``models.networks.training.fit``."""
    shapes, speakers = inputs.shapes(), len(inputs.speakers)
    return Untrained(
        make=lambda: FusionNetwork(shapes, speakers, config, classes),
        view=_view(inputs, at_once=64),
        attended=(*inputs.streams, NOTHING),
        described={"shapes": shapes, "speakers": inputs.speakers},
    )


def build(
    described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
) -> tuple[torch.nn.Module, Callable[[FeatureTable], View]]:
    """The network that a saved model describes; see ``meldflow.models.training.networks``."""
    config, scalers = FusionConfig(**described["config"]), scalers_of(arrays)
    shapes = {name: (steps, width) for name, (steps, width) in described["shapes"].items()}
    speakers = tuple(described["speakers"])

    def view(table: FeatureTable) -> View:
        inputs = assemble(table, scalers, speakers, config.longest).shaped_like(shapes)
        return _view(inputs, at_once=1)

    return FusionNetwork(shapes, len(speakers), config, len(described["classes"])), view


def _view(inputs: Inputs, at_once: int) -> View:
    """A dialogue is seen as a whole."""
    return View(groups=inputs.dialogues, batch=partial(dialogues_of, inputs), at_once=at_once)
