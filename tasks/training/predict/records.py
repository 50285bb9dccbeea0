"""What a model is asked, and what it answers: plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.media import Missing
from meldflow.tasks.inspection.inspect import size_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a model says of one utterance."""

    clip: str
    """Path of the clip; empty where there was none."""
    text: str
    label: str
    """The likeliest class by the chosen classifier."""
    classifier: str
    """The classifier that dev chose in training: ``network`` or ``svm``."""
    by: Mapping[str, Mapping[str, float]]
    """Classifier → class → probability, within [0, 1]."""
    missing: Mapping[str, Missing]
    """Extractor → why it gave nothing."""
    model: str
    """Folder of the model."""
    notes: tuple[str, ...]
    """What a reader has to know before trusting it."""

    @property
    def probabilities(self) -> Mapping[str, float]:
        """Class → probability by the chosen classifier."""
        return self.by[self.classifier]

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self) | {"probabilities": dict(self.probabilities)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """An utterance to classify."""

    clip: Path | None = None
    text: str = ""
    speaker: str = ""
    """Who says it; a model with context fusion knows the frequent speakers by name."""


def check_given(given: Given) -> None:
    """Finds what is wrong with an utterance, without reading a byte of it.

    Raises:
        UsageError: there is no such clip, or neither clip nor words.
    """
    if given.clip is None and not given.text.strip():
        raise UsageError("nothing to classify: name a CLIP, or give its words with --text")
    if given.clip is not None:
        size_of(given.clip)


def why(missing: Missing) -> str:
    """Why an extractor gave nothing, in one line."""
    return f"{missing.reason} ({missing.message})" if missing.message else str(missing.reason)


def listed(names: Sequence[str]) -> str:
    """The names as a sentence has them."""
    return ", ".join(names) if len(names) < 3 else f"{', '.join(names[:-1])} and {names[-1]}"
