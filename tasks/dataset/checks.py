"""What is looked for in annotations: each check is one function, and one line in ``CHECKS``."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise

from meldflow.models.schema.utterances import EMOTIONS
from meldflow.tasks.dataset.cells import is_ambiguous, parse_seconds
from meldflow.tasks.dataset.records import Finding, Kind, Row, SplitCounts, Table

PUBLISHED = {
    split: SplitCounts(
        rows=rows, dialogues=dialogues, emotions=dict(zip(EMOTIONS, emotions, strict=True))
    )
    for split, rows, dialogues, *emotions in (
        # The emotions in their order, from neutral to anger. MELD's page says 1,039 dialogues for
        # train: its ids reach 1038, but 60 is left out.
        ("train", 9989, 1038, 4710, 1205, 268, 683, 1743, 271, 1109),
        ("dev", 1109, 114, 470, 150, 40, 111, 163, 22, 153),
        ("test", 2610, 280, 1256, 281, 50, 208, 402, 68, 345),
    )
}
"""Split → counts; https://github.com/declare-lab/MELD."""

SHORTEST = 0.1
"""Seconds; a syllable takes about 0.2. MELD has 10 rows of 84 ms and less: two frames of video,
where its aligner found no words."""

LONGEST = 30.0
"""Seconds; MELD's longest utterance that people find right lasts 28.5."""

NEARLY_ALL = 0.9
"""A split with fewer of its published rows is taken for a subset, whose counts say nothing."""

Check = Callable[[Sequence[Table]], Iterable[Finding]]


def repaired_encoding(tables: Sequence[Table]) -> Iterator[Finding]:
    """Texts and speakers with cp1252 punctuation or hard spaces."""
    for row in _rows(tables):
        written = [row.cells.get(field, "") for field in ("text", "speaker")]
        if written != [row.text, row.speaker]:
            garbled = sorted({c for c in "".join(written) if "\x80" <= c <= "\xa0"})
            codes = ", ".join(f"U+{ord(character):04X}" for character in garbled)
            yield _about(row, Kind.REPAIRED_ENCODING, f"holds {codes}", f"read as {row.text!r}")


def label_spelling(tables: Sequence[Table]) -> Iterator[Finding]:
    """Emotions in upper case or with spaces."""
    for row in _rows(tables):
        if (cell := row.cells.get("emotion", "")) != row.emotion:
            yield _about(row, Kind.LABEL_SPELLING, f"emotion {cell!r}", f"read as {row.emotion!r}")


def split_spelling(tables: Sequence[Table]) -> Iterator[Finding]:
    """Splits that a table calls otherwise."""
    for table in tables:
        for name, n in Counter(row.cells["split"].strip() for row in table.rows).items():
            if name != table.split:
                subject, detail = f"{table.split}: {name}", f"{n:,} rows of split {name!r}"
                decision = f"read as {table.split!r}"
                yield Finding(Kind.LABEL_SPELLING, table.split, subject, detail, decision)


def odd_time(tables: Sequence[Table]) -> Iterator[Finding]:
    """Time stamps that are none, or have fewer than three digits behind the comma."""
    for row in _rows(tables):
        for stamp in (row.start, row.end):
            seconds = parse_seconds(stamp)
            if math.isnan(seconds):
                decision = "kept; its duration is not known"
                yield _about(row, Kind.UNREADABLE_TIME, f"{stamp!r} is no time", decision)
            elif is_ambiguous(stamp):
                decision = f"read as a decimal fraction: {math.modf(seconds)[0] * 1000:.0f} ms"
                detail = f"{stamp} does not have three digits of milliseconds"
                yield _about(row, Kind.AMBIGUOUS_TIME, detail, decision)


def odd_duration(tables: Sequence[Table]) -> Iterator[Finding]:
    """Rows that last no time, less than none, or longer or shorter than speech can."""
    for row in _rows(tables):
        if (kind := _odd(row.seconds)) is not None:
            detail = f"lasts {row.seconds:.3f} s, from {row.start} to {row.end}"
            yield _about(row, kind, detail, "kept; features come from the clip as it is")


def order(tables: Sequence[Table]) -> Iterator[Finding]:
    """Rows with smaller ids than the row before, or that start before it in their dialogue."""
    for before, row in (pair for table in tables for pair in pairwise(table.rows)):
        starts = parse_seconds(row.start), parse_seconds(before.start)
        if row.key < before.key:
            detail = f"stands behind {before.id}"
            yield _about(row, Kind.OUT_OF_ORDER, detail, "kept in the file's order")
        if row.dialogue == before.dialogue and starts[0] < starts[1]:
            detail = f"starts at {row.start}, before {before.id} at {before.start}"
            yield _about(row, Kind.OUT_OF_ORDER, detail, "kept in the file's order")


def id_gaps(tables: Sequence[Table]) -> Iterator[Finding]:
    """Dialogues, and utterances within a dialogue, that are left out."""
    for table in tables:
        dialogues: dict[int, list[int]] = {}
        for row in table.rows:
            dialogues.setdefault(row.dialogue, []).append(row.utterance)
        gaps = [(first, f"no dialogue {left_out}") for first, left_out in _gaps(dialogues)]
        for dialogue, utterances in dialogues.items():
            if left_out := ", ".join(one for _, one in _gaps(utterances)):
                gaps.append((dialogue, f"no utterance {left_out}"))
        for dialogue, detail in gaps:
            subject, decision = f"{table.split}/dia{dialogue}", "nothing is put in its place"
            yield Finding(Kind.ID_GAP, table.split, subject, detail, decision)


def duplicate_text(tables: Sequence[Table]) -> Iterator[Finding]:
    """Texts that an earlier split has as well, but for case, spaces and punctuation."""
    seen: dict[str, str] = {}
    for table in tables:
        own: dict[str, str] = {}
        for row in table.rows:
            words = _words(row.text)
            if words in seen:
                detail = f"says what {seen[words]} says: {row.text!r}"
                yield _about(row, Kind.DUPLICATE_TEXT, detail, "kept in both splits")
            elif words:
                own.setdefault(words, row.id)
        seen |= own


def published_counts(tables: Sequence[Table]) -> Iterator[Finding]:
    """Counts that are not those of the published MELD."""
    for table in tables:
        published = PUBLISHED.get(table.split)
        counts = SplitCounts.of((row.dialogue, row.emotion) for row in table.rows)
        if published is None or table.dyadic or counts.rows < NEARLY_ALL * published.rows:
            continue
        found = counts.by_name
        for name, number in published.by_name.items():
            if found[name] != number:
                subject = f"{table.split}: {name}"
                detail = f"{found[name]:,}; published are {number:,}"
                yield Finding(Kind.COUNT_DIFFERS, table.split, subject, detail, "used as it is")


BOTH: tuple[Check, ...] = (repaired_encoding, label_spelling, duplicate_text)

OWN_CHECKS: tuple[Check, ...] = (*BOTH, split_spelling)
"""For data in the own-data schema, whose ids and order are its owner's."""

CHECKS: tuple[Check, ...] = (*BOTH, odd_time, odd_duration, order, id_gaps, published_counts)
"""For MELD."""


def _rows(tables: Sequence[Table]) -> Iterator[Row]:
    return (row for table in tables for row in table.rows)


def _about(row: Row, kind: Kind, detail: str, decision: str) -> Finding:
    return Finding(kind, row.split, row.id, detail, decision)


def _odd(seconds: float) -> Kind | None:
    if seconds == 0:
        return Kind.ZERO_DURATION
    if seconds < 0:
        return Kind.NEGATIVE_DURATION
    return Kind.ABSURD_DURATION if seconds < SHORTEST or seconds > LONGEST else None


def _gaps(ids: Iterable[int]) -> Iterator[tuple[int, str]]:
    """The first of every run of ids that is left out, from 0 to the largest id, and the run."""
    for before, after in pairwise((-1, *sorted(ids))):
        first, last = before + 1, after - 1
        if last >= first:
            yield first, str(first) if first == last else f"{first} to {last}"


def _words(text: str) -> str:
    """Letters and digits of a text: MELD has both kinds of apostrophe in the same line."""
    return "".join(filter(str.isalnum, text.casefold()))
