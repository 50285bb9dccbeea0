"""The contract of an extractor: one frozen value, three verbs.

``Extractor(weights)`` is cheap, ``setup(device)`` loads once per worker process and gives
a ready copy, ``extract(media)`` gives one record per utterance in the same order. The base
class keeps the laws that every extractor shares (order, count, reasons pass through, no
undeclared value leaves), so that a subclass only turns usable inputs into arrays.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Self

from meldflow.models.clips.options import DecodeOptions
from meldflow.models.running.computing import Computing
from meldflow.models.schema.features import Features, FeatureSpec, Record, Weights, conform
from meldflow.models.schema.media import Media, Missing
from meldflow.models.weights.sources import PublishedModel


@dataclass(frozen=True, kw_only=True)
class Extractor(ABC):
    """Code + weights + parameters; subclasses add their parameters as fields."""

    published: ClassVar[PublishedModel | None] = None
    """The published model whose weights it loads; None where there is nothing to load."""

    weights: Weights
    decoding: DecodeOptions | None = None
    """How the clip is decoded; None for what reads only the text. Extractors with equal
    options share one decode."""
    computing: Computing | None = None
    """How its network computes; None where there is no choice."""
    loaded: Any = field(default=None, compare=False, repr=False)
    """What ``setup`` loaded; None until then, so that a fresh value pickles in a few bytes."""

    @property
    @abstractmethod
    def spec(self) -> FeatureSpec:
        """Name, modality, arrays, parameters and weights."""

    @abstractmethod
    def load(self, device: str) -> Any:
        """The network (or whatever ``encode`` needs), on ``device``."""

    @abstractmethod
    def encode(self, media: Sequence[Media]) -> list[Features | Missing]:
        """One result per utterance; every one of ``media`` has this extractor's modality."""

    def lengths(self, media: Media) -> dict[str, int]:
        """Rows of each ragged array that ``extract`` gives for ``media``, by the array's name.

        Nothing is loaded or run for it. Zero says that the input is too short for a row, and
        so ``too_short``. ``media`` has this extractor's modality.
        """
        return {}

    def setup(self, device: str = "cpu") -> Self:
        """A ready copy with its weights on ``device`` (``cpu`` or ``cuda[:n]``)."""
        return replace(self, loaded=self.load(device))

    def extract(self, media: Sequence[Media]) -> list[Record]:
        """One record per utterance, in order: its features, or why there are none.

        Raises:
            RuntimeError: ``setup`` was not called.
        """
        if self.loaded is None:
            raise RuntimeError(f"{self.spec.name}: call setup(device) before extract")
        spec = self.spec
        inputs = [getattr(one, spec.modality.value) for one in media]
        records: list[Record] = [one if isinstance(one, Missing) else {} for one in inputs]
        usable = [i for i, one in enumerate(inputs) if not isinstance(one, Missing)]
        for i, result in zip(usable, self.encode([media[i] for i in usable]), strict=True):
            records[i] = result if isinstance(result, Missing) else conform(result, spec)
        return records
