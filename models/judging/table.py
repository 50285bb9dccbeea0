"""What a pinned snapshot gives to training: one row per utterance, in memory."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.features import parted
from meldflow.models.schema.utterances import EMOTION, Target, utterance_id

MODALITY_ARRAYS: Mapping[str, tuple[str, ...]] = {
    "audio": ("audio/wav2vec2/mean", "audio/librosa/stats", "audio/librosa/tempo"),
    "video": ("video/resnet50/features",),
    "text": ("text/minilm/embedding",),
}
"""The arrays that the reference network reads, by modality; a path is ``extractor/array``."""

_OURS = ("audio/wav2vec2", "audio/librosa", "video/resnet50", "text/minilm")
_PREFERRED = ("frames", "features", "layers", "embedding", "mean", "stats")
"""What context fusion reads of an extractor: the first of these that the store has."""

SEQUENCES = frozenset({"audio/wav2vec2/frames", "audio/librosa/frames", "video/resnet50/features"})
"""The arrays whose first axis after the row is time."""

UNDEFINED = SEQUENCES | {"audio/librosa/stats", "audio/librosa/tempo"}
"""The arrays of our own extractors in which NaN says that something is undefined there."""

SEGMENT = 5
"""Frames of sound averaged to one step, 100 ms, in clips that need no more than ``SEGMENTS``."""
SEGMENTS = 32
"""Steps that the sound of a clip has at most: MELD's mean of 3.1 s keeps its 100 ms."""


def wanted(
    network: str,
    modalities: Collection[str],
    held: Collection[str],
    extractors: Collection[str] = (),
) -> dict[str, tuple[str, ...]]:
    """The arrays that a network reads of a store, by modality.

    Args:
        network: ``reference`` or ``fusion``.
        modalities: those to use.
        held: the arrays that the store has, as ``extractor/array``.
        extractors: those to read instead of meldflow's own, for context fusion.

    Raises:
        UsageError: the store has not one of ``extractors``, or the network reads others alone.
    """
    if network == "reference":
        if extractors:
            raise UsageError("the reference network reads the extractors of its paper alone")
        return {name: paths for name, paths in MODALITY_ARRAYS.items() if name in modalities}
    known, found = sorted(set(map(extractor_of, held))), dict[str, tuple[str, ...]]()
    for name in dict.fromkeys(extractors or _OURS):
        if extractors and name not in known:
            raise UsageError(f"no {name} in the store, which has {', '.join(known) or 'nothing'}")
        best = [path for one in _PREFERRED if (path := f"{name}/{one}") in held]
        own = [path for path in sorted(held) if extractor_of(path) == name] or [f"{name}/frames"]
        modality = name.partition("/")[0]
        if modality in modalities:
            found[modality] = (*found.get(modality, ()), *(best[:1] or own))
    return found


def extractor_of(path: str) -> str:
    """The extractor of an ``extractor/array``."""
    return parted(path)[0]


def segments(frames: NDArray[Any]) -> NDArray[np.float16]:
    """``frames`` (n_frames, width) averaged over stretches of equal length.

    Returns:
        shape (``SEGMENTS``, width), NaN beyond the last stretch. A stretch in which a column
        is never finite has NaN there.
    """
    count = min(SEGMENTS, -(-len(frames) // SEGMENT))
    found = np.full((SEGMENTS, frames.shape[1]), np.nan, dtype=np.float16)
    if count:
        values = frames.astype(np.float32)
        finite = np.isfinite(values)
        starts = np.arange(count) * len(frames) // count
        if finite.all():  # as nearly always: a quarter of the time
            bounds = zip(starts.tolist(), [*starts[1:].tolist(), len(frames)], strict=True)
            for step, (start, stop) in enumerate(bounds):
                found[step] = values[start:stop].sum(axis=0) / np.float32(stop - start)
            return found
        total = np.add.reduceat(np.where(finite, values, 0), starts, axis=0)
        number = np.add.reduceat(finite.astype(np.float32), starts, axis=0)
        found[:count] = np.divide(total, number, out=np.full_like(total, np.nan), where=number > 0)
    return found


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
    label: NDArray[Any]
    """One of the classes of ``target``."""
    features: Mapping[str, NDArray[Any]]
    """``extractor/array`` → values, first axis n; a row without the feature is all NaN."""
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """``extractor/array`` → names along the last axis, where they have names."""
    parameters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Extractor → what it was extracted with, JSON values; part of its key."""
    missing: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Extractor → reason → number of utterances without its feature."""
    undefined: Collection[str] = UNDEFINED
    """``extractor/array`` of those in which NaN says that something is undefined there."""
    sequences: Collection[str] = SEQUENCES
    """``extractor/array`` of those whose first axis after the row is time."""
    checkpoints: Mapping[str, str] = field(default_factory=dict)
    """Extractor → the public name of its network, or its folder."""
    arrays: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MODALITY_ARRAYS)
    """Modality → the arrays that were asked for, whether or not the store has them."""
    target: Target = EMOTION
    """What the labels are of."""
    unlabelled: int = 0
    """Utterances that were left out because nobody said which class they are of."""
    seconds: float = 0.0
    """How long reading it from the store took."""
    once: bool = False
    """Whether an array is gone once a network has taken it, so that nothing is held twice."""
    covered: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    """``extractor/array`` of those that are not here any more → which utterances had it."""
    spoilt: Mapping[str, int] = field(default_factory=dict)
    """The same → utterances with values that nobody may have written, where any."""

    def __post_init__(self) -> None:
        """Refuses a column or a feature of another length than ``split`` (``UsageError``)."""
        columns = ("dialogue", "utterance", "speaker", "text", "label")
        named = {name: getattr(self, name) for name in columns} | dict(self.features)
        for name, values in named.items():
            if len(values) != len(self.split):
                raise UsageError(
                    f"feature table: {name} has {len(values)} rows, split has {len(self.split)}"
                )

    def __len__(self) -> int:
        return len(self.split)

    def only(self, modalities: Collection[str]) -> Self:
        """The same utterances, of which only these modalities are known."""
        arrays = {name: paths for name, paths in self.arrays.items() if name in modalities}
        known = {path for paths in arrays.values() for path in paths}
        features = {path: values for path, values in self.features.items() if path in known}
        return replace(self, arrays=arrays, features=features)

    def bare(self) -> Self:
        """The same utterances without their features, of which it is known what there was."""
        covered = {path: self.present(path) for path in self.features}
        return replace(self, features={}, covered=covered, spoilt=self.not_finite())

    def taken(self, path: str) -> NDArray[Any]:
        """The array ``path``, by whoever needs it as the last; see ``once``."""
        values = self.features[path]
        if self.once and isinstance(self.features, dict):
            del self.features[path]
        return values

    def rows(self, split: str) -> NDArray[np.intp]:
        """Row numbers of ``split``, ascending, shape (n_rows,)."""
        return np.flatnonzero(self.split == split)

    def ids(self) -> list[str]:
        """The name of every utterance, e.g. ``train/dia12_utt3``."""
        return list(map(utterance_id, self.split, self.dialogue, self.utterance))

    def present(self, path: str) -> NDArray[np.bool_]:
        """Which utterances have the array ``path`` (any value that is not NaN), shape (n,)."""
        values = self.features.get(path)
        if values is None:
            return self.covered.get(path, np.zeros(len(self), dtype=bool))
        if values.ndim == 1:
            return np.asarray(~np.isnan(values))
        # A NaN row is NaN throughout, so one frame or vector at a time keeps this small.
        return np.fromiter((not np.isnan(row).all() for row in values), bool, count=len(self))

    def not_finite(self) -> dict[str, int]:
        """Array → utterances with values in it that nobody may have written; only where any.

        That is infinity, and NaN among numbers where NaN does not say "undefined here".
        """
        counts = {
            path: sum(_is_spoilt(row, may_be_nan=path in self.undefined) for row in values)
            for path, values in self.features.items()
        }
        return {**self.spoilt, **{path: count for path, count in counts.items() if count}}

    def present_modality(self, modality: str) -> NDArray[np.bool_]:
        """Which utterances have at least one array of ``modality``, shape (n,).

        Raises:
            KeyError: ``modality`` is not one of ``arrays``.
        """
        flags = [self.present(path) for path in self.arrays[modality]]
        return np.asarray(np.logical_or.reduce(flags), dtype=bool)


def _is_spoilt(values: NDArray[Any], *, may_be_nan: bool) -> bool:
    """Whether nobody may have written this; all NaN says that the feature is missing."""
    if np.isfinite(values).all():
        return False
    return bool(np.isinf(values).any() if may_be_nan else not np.isnan(values).all())
