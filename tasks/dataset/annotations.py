"""MELD's annotation files: which of those in a tree are read, and the rows that they give."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import EMOTIONS, SPLITS
from meldflow.storage.format.columns import Records
from meldflow.tasks.dataset.cells import read_table, repair_text, seconds_between
from meldflow.tasks.dataset.records import ABSENT, Finding, Kind, Row, Table
from meldflow.tasks.dataset.tree import Tree

FIELDS = {
    "text": "Utterance",
    "speaker": "Speaker",
    "emotion": "Emotion",
    "dialogue": "Dialogue_ID",
    "utterance": "Utterance_ID",
    "start": "StartTime",
    "end": "EndTime",
}
"""Field → the column that an annotation file must have for it."""

OPTIONAL = {
    "sentiment": "Sentiment",
    "old_dialogue": "Old_Dialogue_ID",
    "old_utterance": "Old_Utterance_ID",
}
"""Field → a column that is read where it is there; the old ids are MELD_Dyadic's."""

LARGEST_ID = 2**31 - 1
"""The store keeps ids in 32 bits."""

_NAME = re.compile(rf"({'|'.join(SPLITS)})_sent_emo(_dya)?\.csv", re.IGNORECASE)


def find_sources(tree: Tree) -> tuple[tuple[Table, ...], tuple[Table, ...]]:
    """The annotation files of a tree, unread.

    Returns:
        The plain file of each split that is nearest to the root, or else MELD_Dyadic's, in the
        order train, dev, test; and further copies of those.

    Raises:
        UsageError: there is none.
    """
    matches = ((file, _NAME.fullmatch(file.name)) for file in tree.files)
    found = [Table(split=m[1].lower(), file=file, dyadic=bool(m[2])) for file, m in matches if m]
    if not found:
        raise UsageError(f"dataset {tree.root}: {_nothing(tree)}")
    found.sort(key=lambda one: (one.dyadic, len(one.file.parts), str(one.file)))
    first = {one.split: one for one in reversed(found)}
    chosen = tuple(first[split] for split in SPLITS if split in first)
    return chosen, tuple(one for one in found if one not in chosen)


def read_source(source: Table) -> Table:
    """The rows of an annotation file, texts repaired, labels in lower case.

    Raises:
        UsageError: the file cannot be read, lacks columns, holds an id or an emotion that is
            none, or names an utterance twice.
    """
    old = [OPTIONAL["old_dialogue"], OPTIONAL["old_utterance"]] if source.dyadic else []
    wanted = [*FIELDS.values(), *old]
    _, columns = read_table(
        source.file, wanted, OPTIONAL.values(), lambda _: "Is this MELD's *_sent_emo.csv?"
    )
    rows = read_rows(source.file, columns, FIELDS | OPTIONAL, lambda _: source.split)
    return replace(source, rows=rows)


def read_rows(
    file: Path,
    columns: Mapping[str, NDArray[Any]],
    fields: Mapping[str, str],
    split_of: Callable[[str], str],
    *,
    unlabelled: bool = False,
) -> Records[Row]:
    """The rows of a table, all of which have been looked at.

    Args:
        file: the table.
        columns: column → its cells, text, shape (n_rows,).
        fields: field → column, of those columns that may be there.
        split_of: what a row calls its split → the split.
        unlabelled: whether a row may have no emotion.

    Raises:
        UsageError: see ``read_source``; it names the file, the row and the column.
    """
    emotions = (*EMOTIONS, "") if unlabelled else EMOTIONS
    held = {field: columns[name] for field, name in fields.items() if name in columns}
    rows = Records(held, lambda cells: _row(cells, split_of(cells.get("split", "").strip())))
    seen: set[str] = set()
    for number, cells in enumerate(Records(held, dict), start=1):
        wrong = _mistake(cells, emotions)
        if wrong is None and (id_ := rows.make(cells).id) not in seen:
            seen.add(id_)
            continue
        field, what = wrong or ("utterance", "there twice in this dialogue")
        raise UsageError(
            f"annotations {file}, row {number}: {fields[field]} {cells[field]!r} is {what}"
        )
    return rows


def other_copies(others: Iterable[Table], tables: Sequence[Table]) -> Iterator[Finding]:
    """A finding for each annotation file that is not the one to read, or not the usual one."""
    read = {table.split: table for table in tables}
    for source in others:
        chosen = read[source.split]
        what, decision = _difference(source, chosen), f"not used; {chosen.file} is"
        yield Finding(Kind.OTHER_COPY, source.split, str(source.file), what, decision)
    for table in tables:
        if table.dyadic:
            what = f"MELD_Dyadic's annotations, and no {table.split}_sent_emo.csv"
            decision = "used; its clips are MELD's, under the old ids"
            yield Finding(Kind.OTHER_COPY, table.split, str(table.file), what, decision)


def _row(cells: Mapping[str, str], split: str) -> Row:
    start, end = cells.get("start", ""), cells.get("end", "")
    return Row(
        split=split,
        dialogue=int(cells["dialogue"]),
        utterance=int(cells["utterance"]),
        text=repair_text(cells.get("text", "")),
        speaker=repair_text(cells.get("speaker", "")),
        emotion=cells.get("emotion", "").strip().lower(),
        sentiment=cells.get("sentiment", ""),
        seconds=seconds_between(start, end),
        clip=ABSENT,
        start=start,
        end=end,
        cells=cells,
    )


def _mistake(cells: Mapping[str, str], emotions: Sequence[str]) -> tuple[str, str] | None:
    """A field of a row that cannot be read, and what is wrong with it."""
    for field in ("dialogue", "utterance", "old_dialogue", "old_utterance"):
        if field in cells and not _is_id(cells[field].strip()):
            return field, "not a whole number"
    if cells.get("emotion", "").strip().lower() not in emotions:
        return "emotion", f"none of {', '.join(EMOTIONS)}"
    split = cells.get("split", "split").strip()
    if not split or "/" in split:
        return "split", "no name of a split: it must not be empty or hold a slash"
    return None


def _is_id(cell: str) -> bool:
    return cell.isdecimal() and len(cell) <= len(str(LARGEST_ID)) and int(cell) <= LARGEST_ID


def _difference(source: Table, chosen: Table) -> str:
    """What the utterances of another copy are, seen from the one that is read."""
    if source.dyadic:
        return "MELD_Dyadic's annotations of this split"
    try:
        ours, theirs = _content(chosen.rows), _content(read_source(source).rows)
    except UsageError as error:
        return f"another copy, which is none: {error}"
    if list(ours.items()) == list(theirs.items()):
        return f"another copy; it gives the same {len(ours):,} utterances"
    differ = [key for key in ours.keys() | theirs.keys() if ours.get(key) != theirs.get(key)]
    if not differ:
        return "another copy; it gives the same utterances in another order"
    dialogue, utterance = min(differ)
    return (
        f"another copy; {len(differ):,} of its utterances differ, "
        f"the first is {source.split}/dia{dialogue}_utt{utterance}"
    )


def _content(rows: Iterable[Row]) -> dict[tuple[int, int], tuple[str, ...]]:
    return {row.key: (row.text, row.speaker, row.emotion, row.start, row.end) for row in rows}


def _nothing(tree: Tree) -> str:
    """Why a tree without annotation files is none of MELD's, and what to do."""
    names = ", ".join(f"{split}_sent_emo.csv" for split in SPLITS)
    missing = f"none of {names} is in it or below it"
    tables = [file for file in tree.files if file.suffix.lower() == ".csv"]
    if not tables:
        return f"{missing}; unpack MELD.Raw.tar.gz there, or try `meldflow synth DIR`"
    first = min(tables, key=lambda file: (len(file.parts), file))
    name, columns = first.relative_to(tree.root), read_table(first)[0]
    if lacking := [column for column in FIELDS.values() if column not in columns]:
        return (
            f"{missing}. {name} is none of them: it has no column {', '.join(lacking)}. "
            "If it is a table of your own, name the file, not the folder"
        )
    return f"{missing}. {name} has their columns: give it one of these names"
