"""What an audit may find: a closed list of kinds, and one record per finding."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Self


class Kind(StrEnum):
    """What is wrong, or worth knowing, about a row, a clip or a file."""

    meaning: str
    """The kind in one sentence, for people."""

    def __new__(cls, value: str, meaning: str = "") -> Self:
        """A kind, by its value alone once it is there."""
        kind = str.__new__(cls, value)
        kind._value_, kind.meaning = value, meaning
        return kind

    @property
    def words(self) -> str:
        """Its name for people."""
        return self.replace("_", " ").capitalize()

    MISSING_CLIP = "missing_clip", "A row whose clip is not there."
    CLIP_WITHOUT_ROW = "clip_without_row", "A clip that no row of the annotations names."
    UNREADABLE_CLIP = "unreadable_clip", "A clip that cannot be opened."
    LEFT_OUT = "left_out", "A file or folder that no utterance is made of."
    STUB = "stub", "macOS `._` files in a folder; they hold no clips."
    TWIN = "twin", "A clip that is there in two cuts."
    DURATION_DIFFERS = "duration_differs", "The clip is shorter or longer than its row says."
    ZERO_DURATION = "zero_duration", "The row starts and ends at the same time."
    NEGATIVE_DURATION = "negative_duration", "The row ends before it starts."
    ABSURD_DURATION = "absurd_duration", "The row is too short or too long for an utterance."
    AMBIGUOUS_TIME = "ambiguous_time", "A time stamp that can be read in more than one way."
    UNREADABLE_TIME = "unreadable_time", "A time stamp that is none."
    REPAIRED_ENCODING = (
        "repaired_encoding",
        "Characters in another encoding than UTF-8, or garbled by one.",
    )
    DUPLICATE_TEXT = "duplicate_text", "A text that another split has as well."
    OUT_OF_ORDER = "out_of_order", "A row that stands before one that it should follow."
    ID_GAP = "id_gap", "Ids that are left out."
    LABEL_SPELLING = "label_spelling", "A label, or a split, in another spelling."
    COUNT_DIFFERS = "count_differs", "A count that is not the published one."
    OTHER_COPY = "other_copy", "Annotations or clips that are there more than once."
    REPORTED = "reported", "A defect that people reported and that no check can find."


@dataclass(frozen=True, slots=True)
class Finding:
    """One discrepancy, and what was made of it."""

    kind: Kind
    split: str
    subject: str
    """What it is about: an utterance's id (``train/dia12_utt3``), a file or a count."""
    detail: str
    """What was seen, with the values."""
    decision: str
    """What was decided: what the extraction will do with it."""
    known: str = ""
    """Id of the entry in the fix list that knows it; empty where it is news."""
