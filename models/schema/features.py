"""What an extractor gives, and what of it may be stored."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from meldflow.models.schema.media import Missing, Modality, Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class ArraySpec:
    """One array that an extractor gives per utterance.

    Shape, dtype and ``rate`` are what is stored; the rest describes it. None of it is part of the
    extractor's key, and a new field has a default: stores outlive releases.
    """

    name: str
    dims: tuple[str, ...]
    """Names of the dimensions; the first is the frame dimension if ``rate`` is set. Arrays of one
    extractor share the dimensions that they name alike."""
    shape: tuple[int, ...]
    """Sizes of the dimensions, without the frame dimension."""
    dtype: str
    """NumPy name: ``float16``, ``float32``, ``int32``, ``uint8``."""
    rate: float | None = None
    """Rows per second for ragged arrays (one row per frame), else None."""
    may_be_nan: bool = False
    """Whether NaN says "undefined here" (unvoiced f0, masked frame)."""
    columns: tuple[str, ...] = ()
    """Names along the last dimension, where they have names."""
    units: str = ""
    """Unit of the values by UDUNITS, e.g. ``s`` or ``Hz``; empty where they have none."""
    long_name: str = ""
    """What the values are, for a person who sees the array."""

    @property
    def is_sequence(self) -> bool:
        """Whether its first dimension is time."""
        return self.rate is not None or self.dims[:1] == ("keyframe",)


Features: TypeAlias = dict[str, NDArray[Any]]
"""One utterance's arrays by name; ragged ones have shape (n_frames, *shape)."""


Record: TypeAlias = Features | Missing
"""What ``extract`` gives for one utterance."""


NEVER_EXTRACTED = "never_extracted"
"""What stands for a reason where no run ever tried to extract the feature."""

STALE = "stale"
"""What does where the stored result is of an earlier clip, text or key than is wanted now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRow:
    """An utterance as a snapshot holds it, with the arrays that somebody asked for."""

    row: int
    """Its row in the store."""
    id: str
    """For example ``train/dia12_utt3``."""
    emotion: str
    """One of ``EMOTIONS``; empty where nobody said which."""
    arrays: Mapping[str, NDArray[Any]]
    """``extractor/array`` → values, shape (n_frames, …) if it is ragged, else (…); those that
    are missing are not here."""
    missing: Mapping[str, str]
    """``extractor/array`` → why it is not there: a ``Reason``, ``NEVER_EXTRACTED`` or ``STALE``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """Where the parameters of a network come from."""

    kind: str
    """``pretrained``, ``random``, ``folder`` or ``none`` (nothing to load)."""
    revision: str
    """What tells these weights from others: a digest of the file, or the seed."""
    location: str = ""
    """File or folder to load from; empty for random and none. Not part of the key."""
    model: str = ""
    """Public name of the model, e.g. ``facebook/wav2vec2-base-960h``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSpec:
    """What an extractor is and gives: everything that the store has to know of it."""

    name: str
    """Registry name, e.g. ``audio/wav2vec2``."""
    modality: Modality
    version: int
    """Raised by the author when the same parameters give other values."""
    arrays: tuple[ArraySpec, ...]
    weights: Weights
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """JSON values; every one that changes the result, and none that does not."""
    resource: str = "model"
    """Dask resource that it runs on: ``cpu`` or ``model``."""

    @property
    def key(self) -> str:
        """``name@version#parameters+weights``: a stored row with another key is stale."""
        canonical = json.dumps(self.parameters, sort_keys=True, separators=(",", ":"))
        digest = hashlib.sha256(canonical.encode()).hexdigest()[:12]
        return f"{self.name}@{self.version}#{digest}+{self.weights.revision}"

    def array(self, name: str) -> ArraySpec:
        """The array called ``name``.

        Raises:
            KeyError: the extractor gives no such array.
        """
        for array in self.arrays:
            if array.name == name:
                return array
        raise KeyError(f"{self.name} gives no array {name!r}")


def conform(features: Features, spec: FeatureSpec) -> Record:
    """The features in their declared dtypes, or the reason why they may not be stored.

    A value that the declared dtype cannot hold (too large, or in an integer array NaN or a
    fraction) is ``overflow``; NaN or infinity where a float array does not allow it is
    ``not_finite``.

    Raises:
        ValueError: an array is absent or has other dims than declared. That is a defect of
            the extractor, not of the input.
    """
    stored: Features = {}
    for array in spec.arrays:
        if array.name not in features:
            raise ValueError(f"{spec.name} gave no array {array.name!r}")
        value = np.asarray(features[array.name])
        inner = value.shape[1:] if array.rate is not None else value.shape
        if inner != array.shape:
            raise ValueError(
                f"{spec.name}/{array.name} has shape {value.shape}, declared {array.shape}"
            )
        with np.errstate(over="ignore", invalid="ignore"):
            cast = value.astype(array.dtype, copy=False)
        lost = np.isinf(cast) & np.isfinite(value) if cast.dtype.kind == "f" else cast != value
        if lost.any():
            message = f"{array.name} holds {value[lost][0]:.6g}, which {array.dtype} cannot hold"
            return Missing(reason=Reason.OVERFLOW, message=message)
        allowed = ~np.isinf(cast) if array.may_be_nan else np.isfinite(cast)
        if bad := cast.size - int(allowed.sum()):
            message = f"{array.name} has {bad} values that are not finite"
            return Missing(reason=Reason.NOT_FINITE, message=message)
        stored[array.name] = cast
    return stored


def parted(path: str) -> tuple[str, str]:
    """``extractor/array`` as its two names."""
    extractor, _, array = path.rpartition("/")
    return extractor, array


def rows_needed(array: ArraySpec, seconds: ArrayLike) -> NDArray[np.int64]:
    """Upper bound on the frames of clips of ``seconds``, of the same shape, for a ragged array."""
    if array.rate is None:
        raise ValueError(f"{array.name} is not ragged")
    return np.ceil(np.maximum(seconds, 0.0) * array.rate).astype(np.int64) + 2
