"""Extractors that do nothing, in the shape of the real four.

The same graph of stages comes of them: three share the load of a batch, on both roles, and one
reads texts, a whole partition at once. They listen to the text, so that no clip is opened.

No user meets them. ``registered`` writes what the package of a third party would bring, and only
processes that have that folder on their path see it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from models.extractor import Extractor
from models.options import DecodeOptions
from models.registry import ENTRY_POINTS
from models.schema import ArraySpec, Features, FeatureSpec, Media, Missing, Modality

ROWS = 6
"""Rows of a ragged array: three seconds of clip."""

PACKAGE = "meldflow_bench"


@dataclass(frozen=True, kw_only=True)
class _Nothing(Extractor):
    """Gives the same arrays for every utterance."""

    name: ClassVar[str]
    arrays: ClassVar[tuple[ArraySpec, ...]]
    resource: ClassVar[str] = "model"

    @property
    def spec(self) -> FeatureSpec:
        """The class's name and arrays."""
        return FeatureSpec(
            name=self.name,
            modality=Modality.TEXT,
            version=1,
            arrays=self.arrays,
            weights=self.weights,
            resource=self.resource,
        )

    def load(self, device: str) -> dict[str, NDArray[Any]]:
        """The arrays."""
        return {one.name: np.ones(_shape(one), one.dtype) for one in self.arrays}

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """The same arrays for each."""
        return [self.loaded for _ in media]


@dataclass(frozen=True, kw_only=True)
class Sound(_Nothing):
    """In the place of ``audio/wav2vec2``."""

    name = "text/bench-sound"
    arrays = (
        ArraySpec(name="frames", dims=("frame", "channel"), shape=(8,), dtype="float16", rate=2.0),
        ArraySpec(name="mean", dims=("channel",), shape=(8,), dtype="float32"),
    )
    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)


@dataclass(frozen=True, kw_only=True)
class Descriptors(_Nothing):
    """In the place of ``audio/librosa``."""

    name = "text/bench-descriptors"
    resource = "cpu"
    arrays = (
        ArraySpec(name="frames", dims=("frame", "channel"), shape=(4,), dtype="float32", rate=2.0),
        ArraySpec(name="stats", dims=("statistic",), shape=(8,), dtype="float32"),
        ArraySpec(name="tempo", dims=(), shape=(), dtype="float32"),
    )
    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)


@dataclass(frozen=True, kw_only=True)
class Pictures(_Nothing):
    """In the place of ``video/resnet50``."""

    name = "text/bench-pictures"
    arrays = (
        ArraySpec(name="features", dims=("picture", "channel"), shape=(10, 8), dtype="float16"),
        ArraySpec(name="frame_index", dims=("picture",), shape=(10,), dtype="int32"),
        ArraySpec(name="timestamp", dims=("picture",), shape=(10,), dtype="float32"),
        ArraySpec(name="entropy", dims=("picture",), shape=(10,), dtype="float32"),
        ArraySpec(name="n_frames", dims=(), shape=(), dtype="int32"),
    )
    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)


@dataclass(frozen=True, kw_only=True)
class Words(_Nothing):
    """In the place of ``text/minilm``."""

    name = "text/bench-words"
    arrays = (ArraySpec(name="embedding", dims=("channel",), shape=(8,), dtype="float32"),)


NOTHING: tuple[type[_Nothing], ...] = (Sound, Descriptors, Pictures, Words)


def register(folder: Path) -> None:
    """Makes the extractors known to the processes that have ``folder`` on their path."""
    about = folder / f"{PACKAGE}-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 0\n")
    lines = (f"{one.name} = {one.__module__}:{one.__name__}" for one in NOTHING)
    (about / "entry_points.txt").write_text("\n".join((f"[{ENTRY_POINTS}]", *lines, "")))


def _shape(array: ArraySpec) -> tuple[int, ...]:
    return array.shape if array.rate is None else (ROWS, *array.shape)
