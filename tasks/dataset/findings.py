"""What an audit may find: a closed list of kinds, and one record per finding."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is wrong, or worth knowing, about a row, a clip or a file."""

    MISSING_CLIP = "missing_clip"
    CLIP_WITHOUT_ROW = "clip_without_row"
    UNREADABLE_CLIP = "unreadable_clip"
    STUB = "stub"
    TWIN = "twin"
    DURATION_DIFFERS = "duration_differs"
    ZERO_DURATION = "zero_duration"
    NEGATIVE_DURATION = "negative_duration"
    ABSURD_DURATION = "absurd_duration"
    AMBIGUOUS_TIME = "ambiguous_time"
    UNREADABLE_TIME = "unreadable_time"
    REPAIRED_ENCODING = "repaired_encoding"
    DUPLICATE_TEXT = "duplicate_text"
    OUT_OF_ORDER = "out_of_order"
    ID_GAP = "id_gap"
    LABEL_SPELLING = "label_spelling"
    COUNT_DIFFERS = "count_differs"
    OTHER_COPY = "other_copy"
    REPORTED = "reported"


MEANING = {
    Kind.MISSING_CLIP: "A row whose clip is not there.",
    Kind.CLIP_WITHOUT_ROW: "A clip that no row of the annotations names.",
    Kind.UNREADABLE_CLIP: "A clip that cannot be opened.",
    Kind.STUB: "macOS `._` files in a folder; they hold no clips.",
    Kind.TWIN: "A clip that is there in two cuts.",
    Kind.DURATION_DIFFERS: "The clip is shorter or longer than its row says.",
    Kind.ZERO_DURATION: "The row starts and ends at the same time.",
    Kind.NEGATIVE_DURATION: "The row ends before it starts.",
    Kind.ABSURD_DURATION: "The row is shorter than a syllable or longer than any utterance.",
    Kind.AMBIGUOUS_TIME: "A time stamp that can be read in more than one way.",
    Kind.UNREADABLE_TIME: "A time stamp that is none.",
    Kind.REPAIRED_ENCODING: "Characters that an older copy of the file garbled.",
    Kind.DUPLICATE_TEXT: "A text that another split has as well.",
    Kind.OUT_OF_ORDER: "A row that stands before one that it should follow.",
    Kind.ID_GAP: "Ids that are left out.",
    Kind.LABEL_SPELLING: "A label in another spelling.",
    Kind.COUNT_DIFFERS: "A count that is not the published one.",
    Kind.OTHER_COPY: "Annotations or clips that are there more than once.",
    Kind.REPORTED: "A defect that people reported and that no check can find.",
}
"""Each kind in one sentence, for people."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
