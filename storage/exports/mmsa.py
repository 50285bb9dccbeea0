"""The pickle that the trainers of MMSA (github.com/thuiar/MMSA) read.

A dict ``{"train", "valid", "test"}``, MELD's dev being ``valid``; each split is a dict of

``raw_text``, ``id``, ``annotations``
    lists of str. An id is ``train/dia12$_$utt3``: MMSA puts ``$_$`` between video and clip.
``text``, ``audio``, ``vision``
    features in the dtype in which they are stored (MMSA's loader makes float32 of them), shape
    (n_utterances, n_steps, n_channels), padded with zeros at the end.
``text_lengths``, ``audio_lengths``, ``vision_lengths``
    lists of int: the steps that are no padding. 0 says that the utterance lacks the feature, or
    that its clip is too short for one step; the provenance lists both.
``regression_labels``
    float32, shape (n_utterances,): -1 negative, 0 neutral, 1 positive. MELD knows no degrees.
``classification_labels``
    int64, shape (n_utterances,): 0 negative, 1 neutral, 2 positive.
``emotion_labels``
    int64, shape (n_utterances,): index in ``EMOTIONS``, -1 where it is none of
    them. Not part of MMSA's format, which knows sentiment only; its loader passes over it.

``text_bert`` (token ids of a BERT) is not there, since no extractor gives it: models that need
it (``use_bert``) cannot be trained on this file.

Of an extractor one array is taken: the first with frames, else the first with two dimensions
(steps, channels), else the first vector, as one step. NaN, which says "undefined here", becomes
0, and a step that is NaN throughout is no step.

This is MMSA's unaligned form: every modality keeps its own steps, up to the mean length plus three
standard deviations, as MMSA-FET does it. The aligned form takes the times of the words.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Modality
from meldflow.models.schema.utterances import EMOTIONS
from meldflow.storage.exports.pickles import PortablePickler
from meldflow.storage.exports.selection import Advance, Exported, Outcome, Selection
from meldflow.storage.format.arrays import FeatureArray, RaggedArray, by_partition
from meldflow.storage.format.columns import ColumnTable

SPLITS = {"train": "train", "dev": "valid", "test": "test"}
"""Our splits → MMSA's."""

NAMES = {Modality.TEXT: "text", Modality.AUDIO: "audio", Modality.VIDEO: "vision"}
"""Our modalities → MMSA's."""

SENTIMENTS = ("negative", "neutral", "positive")
"""By MMSA's class label."""

NO_SENTIMENT = "no sentiment of negative, neutral and positive"


def write(selection: Selection, target: Path, advance: Advance) -> Outcome:
    """Writes the pickle; its features are in memory as a whole, as in the trainers.

    Raises:
        UsageError: the extractors are not one per modality, or a split has no utterance.
    """
    chosen = _one_per_modality(selection)
    kept, parts = _labelled(selection)
    features = {modality: _feature(kept, one) for modality, one in chosen.items()}
    splits = {SPLITS[of]: _one_split(kept, rows, features, advance) for of, rows in parts.items()}
    with target.open("xb") as file:
        PortablePickler(file, protocol=4).dump(splits)
    details = {
        NAMES[modality]: one.describe(kept.snapshot.ids) for modality, one in features.items()
    }
    return Outcome(selection=kept, remarks=_remarks(kept, features), details=details)


@dataclass(slots=True, kw_only=True)
class _Feature:
    """A modality on its way into the pickle, and what was done to it."""

    extractor: Exported
    array: FeatureArray
    n_steps: int
    """Steps after padding."""
    how: str
    """How the steps came about, for the provenance."""
    n_cut: int = 0
    """Utterances of which steps were cut off."""
    n_undefined: int = 0
    """Values that were NaN and became 0."""
    empty: list[int] = field(default_factory=list)
    """Rows that have the feature, and not one step of it."""

    def describe(self, ids: list[str]) -> dict[str, Any]:
        """What the provenance says of it."""
        return {
            "extractor": self.extractor.name,
            "array": self.array.spec.name,
            "dtype": self.array.spec.dtype,
            "n_steps": self.n_steps,
            "n_channels": self.array.spec.shape[-1],
            "steps": self.how,
            "utterances_cut": self.n_cut,
            "nan_written_as_zero": self.n_undefined,
            "utterances_without_a_step": [ids[row] for row in self.empty],
        }

    def fill(
        self, selection: Selection, rows: NDArray[np.int64], lengths: list[int], advance: Advance
    ) -> NDArray[Any]:
        """The padded feature of ``rows``; appends the steps of each to ``lengths``.

        Returns:
            shape (n_rows, n_steps, n_channels).
        """
        n_channels = self.array.spec.shape[-1]
        padded = np.zeros((len(rows), self.n_steps, n_channels), self.array.spec.dtype)
        for part in by_partition(rows, selection.snapshot.partition):
            has = self.extractor.has(part).tolist()
            for row, stored, there in zip(part.tolist(), self.array.read(part), has, strict=True):
                steps = self._finish(stored.reshape(-1, n_channels)) if there else padded[0, :0]
                padded[len(lengths), : len(steps)] = steps
                lengths.append(len(steps))
                if there and not len(steps):
                    self.empty.append(row)
            advance(len(part) * len(self.extractor.arrays))
        return padded

    def _finish(self, steps: NDArray[Any]) -> NDArray[Any]:
        defined = steps[~np.isnan(steps).all(axis=1)]
        kept = defined[: self.n_steps]
        undefined = np.isnan(kept)
        self.n_cut += len(defined) > len(kept)
        self.n_undefined += int(undefined.sum())
        kept[undefined] = 0
        return np.asarray(kept)


def _one_per_modality(selection: Selection) -> dict[Modality, Exported]:
    chosen: dict[Modality, Exported] = {}
    for modality in NAMES:
        held = [one for one in selection.extractors if one.attributes["modality"] == modality]
        if len(held) != 1:
            names = ", ".join(one.name for one in held) or "none"
            raise UsageError(
                f"mmsa takes one extractor of each modality, and of {modality} there is {names}; "
                "choose with --only, once for audio, video and text each"
            )
        chosen[modality] = held[0]
    return chosen


def _labelled(selection: Selection) -> tuple[Selection, dict[str, NDArray[np.int64]]]:
    """The rows that MMSA can hold, and those of each split."""
    table = selection.snapshot.utterances
    kept = selection.labelled("sentiment", SENTIMENTS, NO_SENTIMENT)
    parts = {split: kept.rows[table["split"][kept.rows] == split] for split in SPLITS}
    for split, rows in parts.items():
        if not rows.size:
            raise UsageError(f"mmsa needs train, dev and test, and no utterance of {split} is left")
    return kept, parts


def _one_split(
    selection: Selection,
    rows: NDArray[np.int64],
    features: Mapping[Modality, _Feature],
    advance: Advance,
) -> dict[str, Any]:
    table = selection.snapshot.utterances
    sentiments = table["sentiment"][rows].tolist()
    classes = np.array([SENTIMENTS.index(one) for one in sentiments], np.int64)
    emotions = [EMOTIONS.index(one) if one in EMOTIONS else -1 for one in table["emotion"][rows]]
    split: dict[str, Any] = {
        "raw_text": table["text"][rows].tolist(),
        "id": _ids(table, rows),
        "annotations": [one.capitalize() for one in sentiments],
        "regression_labels": (classes - 1).astype(np.float32),
        "classification_labels": classes,
        "emotion_labels": np.array(emotions, np.int64),
    }
    for modality, feature in features.items():
        lengths: list[int] = []
        split[NAMES[modality]] = feature.fill(selection, rows, lengths, advance)
        split[f"{NAMES[modality]}_lengths"] = lengths
    return split


def _ids(table: ColumnTable, rows: NDArray[np.int64]) -> list[str]:
    """``train/dia12$_$utt3``; ``train$_$name`` where no dialogue names the utterance."""
    columns = (table[one][rows].tolist() for one in ("split", "dialogue", "utterance", "name"))
    return [
        f"{split}$_${name}" if name else f"{split}/dia{dialogue}$_$utt{utterance}"
        for split, dialogue, utterance, name in zip(*columns, strict=True)
    ]


def _feature(selection: Selection, one: Exported) -> _Feature:
    array = _array(one)
    if not isinstance(array, RaggedArray):
        is_vector = len(array.spec.shape) == 1
        n_steps = 1 if is_vector else array.spec.shape[0]
        how = "one: the vector as stored" if is_vector else "as stored"
        return _Feature(extractor=one, array=array, n_steps=n_steps, how=how)
    sizes = array.row_size[selection.rows[one.has(selection.rows)]]
    limit = int(sizes.mean() + 3 * sizes.std()) if sizes.size else 1
    n_steps = max(1, min(limit, int(sizes.max(initial=1))))
    how = f"frames, cut after {n_steps}: the longest, at most mean length + 3 standard deviations"
    return _Feature(extractor=one, array=array, n_steps=n_steps, how=how)


def _array(one: Exported) -> FeatureArray:
    """The array that stands for the extractor: its frames, else what it names first."""
    usable = [
        array
        for array in one.arrays
        if np.dtype(array.spec.dtype).kind == "f"
        and len(array.spec.shape) in ((1,) if isinstance(array, RaggedArray) else (1, 2))
    ]
    if usable:
        return next((array for array in usable if isinstance(array, RaggedArray)), usable[0])
    raise UsageError(f"mmsa: {one.name} gives no sequence and no vector of real numbers")


def _remarks(selection: Selection, features: Mapping[Modality, _Feature]) -> tuple[str, ...]:
    remarks: list[str] = []
    lacking: list[str] = []
    for modality, one in features.items():
        if n_lacking := int((~one.extractor.has(selection.rows)).sum()):
            lacking.append(f"{NAMES[modality]} {n_lacking}")
        counted = {
            "utterances have the feature and not one step of it; they are zeros of length 0, too": (
                len(one.empty)
            ),
            f"utterances cut after {one.n_steps} steps": one.n_cut,
            "values that were NaN are 0": one.n_undefined,
        }
        remarks += [f"{NAMES[modality]}: {n} {what}" for what, n in counted.items() if n]
    zeros = (
        f"missing features are zeros of length 0, listed in the provenance: {', '.join(lacking)}; "
        "models that pack sequences refuse that length, --complete leaves these utterances out"
    )
    return (*([zeros] if lacking else []), *remarks)
