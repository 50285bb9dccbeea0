"""What a pinned snapshot gives to training: one row per utterance, in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.schema import UsageError, utterance_id

MODALITY_ARRAYS: Mapping[str, tuple[str, ...]] = {
    "audio": ("audio/wav2vec2/mean", "audio/librosa/stats", "audio/librosa/tempo"),
    "video": ("video/resnet50/features",),
    "text": ("text/minilm/embedding",),
}
"""The arrays that training reads, by modality; a path is ``extractor/array``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTable:
    """Utterances with their labels and features, all columns of length n."""

    snapshot: str
    """Id of the snapshot that the rows were read from."""
    store: str
    """Address of the store."""
    keys: Mapping[str, str]
    """Extractor → the key of its stored rows; an extractor never run is not here."""
    weights: Mapping[str, str]
    """Extractor → ``pretrained``, ``random``, ``folder`` or ``none``."""
    split: NDArray[Any]
    """``train``, ``dev`` or ``test``."""
    dialogue: NDArray[Any]
    """Number of the dialogue within its split."""
    utterance: NDArray[Any]
    """Number of the utterance within its dialogue."""
    speaker: NDArray[Any]
    text: NDArray[Any]
    emotion: NDArray[Any]
    """One of ``models.schema.EMOTIONS``."""
    features: Mapping[str, NDArray[Any]]
    """``extractor/array`` → values, first axis n; a row without the feature is all NaN."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """``extractor/array`` → names along the last axis, where they have names."""
    missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Extractor → reason → number of utterances without its feature."""
    unlabelled: int = 0
    """Utterances that were left out because nobody said which emotion they have."""

    def __post_init__(self) -> None:
        """Check that every column and feature has one row per utterance.

        Raises:
            UsageError: a column or a feature has another length than ``split``.
        """
        named = {name: getattr(self, name) for name in _COLUMNS} | dict(self.features)
        for name, values in named.items():
            if len(values) != len(self.split):
                raise UsageError(
                    f"feature table: {name} has {len(values)} rows, split has {len(self.split)}"
                )

    def __len__(self) -> int:
        return len(self.split)

    def rows(self, split: str) -> NDArray[np.intp]:
        """Row numbers of ``split``, ascending, shape (n_rows,)."""
        return np.flatnonzero(self.split == split)

    def ids(self) -> list[str]:
        """The name of every utterance, e.g. ``train/dia12_utt3``."""
        named = zip(self.split, self.dialogue, self.utterance, strict=True)
        return [utterance_id(*key) for key in named]

    def present(self, path: str) -> NDArray[np.bool_]:
        """Which utterances have the array ``path`` (any value that is not NaN), shape (n,)."""
        values = self.features.get(path)
        if values is None:
            return np.zeros(len(self), dtype=bool)
        if values.ndim == 1:
            return np.asarray(~np.isnan(values))
        # A NaN row is NaN throughout, so one frame or vector at a time keeps this small.
        return np.fromiter((not np.isnan(row).all() for row in values), bool, count=len(self))

    def present_modality(self, modality: str) -> NDArray[np.bool_]:
        """Which utterances have at least one array of ``modality``, shape (n,).

        Raises:
            KeyError: ``modality`` is not one of ``MODALITY_ARRAYS``.
        """
        flags = [self.present(path) for path in MODALITY_ARRAYS[modality]]
        return np.asarray(np.logical_or.reduce(flags), dtype=bool)


_COLUMNS = ("dialogue", "utterance", "speaker", "text", "emotion")
