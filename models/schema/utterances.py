"""What an utterance is, what is told of it, and the words and folders of MELD."""

from collections.abc import Mapping
from dataclasses import dataclass

SPLITS = ("train", "dev", "test")


CLIP_FOLDERS = {
    "train": "train_splits",
    "dev": "dev_splits_complete",
    "test": "output_repeated_splits_test",
}
"""Split → the folder that MELD's archive unpacks its clips into."""


EMOTIONS = ("neutral", "surprise", "fear", "sadness", "joy", "disgust", "anger")
"""MELD's seven emotions, in the order of its published label ids."""


SENTIMENTS = ("neutral", "positive", "negative")
"""MELD's three sentiments, in the order of its published label ids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The media file of an utterance, as found on disk."""

    path: str
    """Absolute path, also of a clip that is not there; empty when there is no clip folder."""
    sha256: bytes
    """Checksum of the file's bytes, 32 bytes; all zero when it cannot be read."""
    size: int
    """Bytes."""
    mtime_ns: int
    """Time of the last change, nanoseconds; with ``size`` it tells that a checksum still holds."""
    seconds: float
    """Duration by the container's header, seconds; NaN when it declares none."""


def utterance_id(split: str, dialogue: int, utterance: int, name: str = "") -> str:
    """The name people see, e.g. ``train/dia12_utt3``, or ``clips/<name>`` where it has one."""
    return f"{split}/{name or f'dia{dialogue}_utt{utterance}'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Utterance:
    """One row of the catalogue, keyed by its id."""

    split: str
    dialogue: int
    utterance: int
    text: str
    speaker: str
    emotion: str
    sentiment: str
    seconds: float
    """Duration by the annotation, seconds; may be zero, negative or absurd in MELD."""
    clip: Clip
    name: str = ""
    """What it is called where no dialogue and number name it: a clip of a plain folder, whose
    ``dialogue`` and ``utterance`` are -1."""

    @property
    def id(self) -> str:
        """The name people see, e.g. ``train/dia12_utt3``; no two utterances share it."""
        return utterance_id(self.split, self.dialogue, self.utterance, self.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A column of the annotations, and the labels that it may hold."""

    name: str
    """Name of the column, as people say it."""
    classes: tuple[str, ...]
    """Its labels, in the order of MELD's published label ids."""

    @property
    def one(self) -> str:
        """The name with its article, as in ``an emotion``."""
        return f"{'an' if self.name[0] in 'aeiou' else 'a'} {self.name}"


EMOTION = Target(name="emotion", classes=EMOTIONS)
SENTIMENT = Target(name="sentiment", classes=SENTIMENTS)

TARGETS: Mapping[str, Target] = {one.name: one for one in (EMOTION, SENTIMENT)}
"""Name → target."""
