"""Extractors that do nothing, or only wait, in the shape of the real four.

The same graph of stages comes of them: three share the load of a batch, on both roles, and one
reads texts, a whole partition at once. They listen to the text, so that no clip is opened.

Where the environment variable ``PAUSES`` says so, each takes its time over every utterance, asleep:
hundreds of workers then fit on a few cores, and all that the cores do is to bring utterances
through the system.

No user meets them. ``register`` writes what the package of a third party would bring, and only
processes that have that folder on their path see it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.extractors.contract import Extractor
from meldflow.models.extractors.entries import ENTRY_POINTS
from meldflow.models.schema.features import ArraySpec, Features, FeatureSpec
from meldflow.models.schema.media import Media, Missing, Modality

ROWS = 6
"""Rows of a ragged array: three seconds of clip."""

PACKAGE = "meldflow_bench"

PAUSES = "MELDFLOW_BENCH_PAUSES"
"""Environment variable of the workers: a JSON object, name → seconds per utterance."""


def _array(name: str, dim: str, size: int) -> ArraySpec:
    return ArraySpec(name=name, dims=(dim,), shape=(size,), dtype="float32")


@dataclass(frozen=True, kw_only=True)
class _Nothing(Extractor):
    """Gives the same arrays for every utterance, after a pause."""

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

    def load(self, device: str) -> tuple[Features, float]:
        """The arrays, and the pause: seconds per utterance."""
        shapes = {one: one.shape if one.rate is None else (ROWS, *one.shape) for one in self.arrays}
        features = {one.name: np.ones(shape, one.dtype) for one, shape in shapes.items()}
        pauses: dict[str, float] = json.loads(os.environ.get(PAUSES, "{}"))
        return features, pauses.get(self.name, 0.0)

    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """The same arrays for each."""
        features, pause = self.loaded
        time.sleep(pause * len(media))
        return [features for _ in media]


@dataclass(frozen=True, kw_only=True)
class Sound(_Nothing):
    """In the place of ``audio/wav2vec2``."""

    name = "text/bench-sound"
    arrays = (
        ArraySpec(name="frames", dims=("frame", "channel"), shape=(8,), dtype="float16", rate=2.0),
        _array("mean", "channel", 8),
    )
    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)


@dataclass(frozen=True, kw_only=True)
class Descriptors(_Nothing):
    """In the place of ``audio/librosa``."""

    name = "text/bench-descriptors"
    resource = "cpu"
    arrays = (
        ArraySpec(name="frames", dims=("frame", "channel"), shape=(4,), dtype="float32", rate=2.0),
        _array("stats", "statistic", 8),
        ArraySpec(name="tempo", dims=(), shape=(), dtype="float32"),
    )
    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)


@dataclass(frozen=True, kw_only=True)
class Pictures(_Nothing):
    """In the place of ``video/resnet50``."""

    name = "text/bench-pictures"
    arrays = (
        ArraySpec(name="features", dims=("picture", "channel"), shape=(10, 8), dtype="float16"),
        *(_array(name, "picture", 10) for name in ("frame_index", "timestamp", "entropy")),
        ArraySpec(name="n_frames", dims=(), shape=(), dtype="int32"),
    )
    decoding: DecodeOptions | None = field(default_factory=DecodeOptions)


@dataclass(frozen=True, kw_only=True)
class Words(_Nothing):
    """In the place of ``text/minilm``."""

    name = "text/bench-words"
    arrays = (_array("embedding", "channel", 8),)


NOTHING: tuple[type[_Nothing], ...] = (Sound, Descriptors, Pictures, Words)

ONLY_NOTHING = tuple(part for one in NOTHING for part in ("--only", one.name))
"""What makes ``meldflow extract`` do nothing."""


def register(folder: Path) -> None:
    """Makes the extractors known to the processes that have ``folder`` on their path."""
    about = folder / f"{PACKAGE}-0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 0\n")
    lines = (f"{one.name} = {one.__module__}:{one.__name__}" for one in NOTHING)
    (about / "entry_points.txt").write_text("\n".join((f"[{ENTRY_POINTS}]", *lines, "")))
