"""From a path to a catalogue of utterances, and findings about everything on the way."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from meldflow.models.schema.errors import UsageError
from meldflow.models.schema.utterances import Clip
from meldflow.tasks.dataset.annotations import find_sources, other_copies, read_source
from meldflow.tasks.dataset.checks import CHECKS, OWN_CHECKS, Check
from meldflow.tasks.dataset.clips import Taken, Wanted, leave_clips, take_clips
from meldflow.tasks.dataset.findings import Finding
from meldflow.tasks.dataset.fixes import NONE, FixList, load_fixes
from meldflow.tasks.dataset.layout import Layout, lay_out, layout_findings
from meldflow.tasks.dataset.own import CLIPS, read_folder, read_own, wanted_by
from meldflow.tasks.dataset.records import Intake, Row, SplitCounts, Table
from meldflow.tasks.dataset.tree import Tree, walk

Take: TypeAlias = Callable[[Sequence[Wanted]], Taken] | None
"""What reads clips; None leaves them alone."""


def take_in(
    source: Path,
    *,
    known: Mapping[str, Clip] | None = None,
    checksums: bool = True,
    clips: bool = True,
    fixes: bool = True,
) -> Intake:
    """The catalogue of a data set. Nothing is dropped: a row without a clip stays in it.

    Args:
        source: a folder with MELD's annotation files and clips at any depth, or a ``.csv`` or
            ``.parquet`` file in the own-data schema (docs/dataset.md).
        known: path → clip as catalogued before; a file whose size and time of change are the
            same is not read again.
        checksums: False: only the headers of clips are read, and no clip has a checksum.
        clips: False: clips are left alone altogether.
        fixes: whether the list of known defects is used.

    Raises:
        UsageError: ``source`` or its tables cannot be read; see ``check_source``.
    """
    taking = functools.partial(take_clips, known=known or {}, checksums=checksums)
    take = taking if clips else None
    if source.is_dir():
        return _take_in_tree(source, take, load_fixes() if fixes else NONE)
    return _take_in_table(source, take)


def take_in_folder(folder: Path, *, known: Mapping[str, Clip] | None = None) -> Intake:
    """The catalogue of a plain folder: one utterance per clip, in the order of their names.

    Args:
        folder: what holds the clips, at any depth; their words may lie in ``.txt`` files beside.
        known: see ``take_in``.

    Raises:
        UsageError: the folder cannot be listed, or holds no clips or a text that is none.
    """
    found = list(read_folder(folder))
    wanted = [
        Wanted(id=one.id, split=one.split, seconds=math.nan, candidates=(file,), expected=None)
        for one, file in found
    ]
    taken = take_clips(wanted, known=known or {})
    pairs = zip(found, taken.clips, strict=True)
    return Intake(
        utterances=tuple(dataclasses.replace(one, clip=clip) for (one, _), clip in pairs),
        findings=taken.findings,
        splits={CLIPS: SplitCounts(rows=len(found), dialogues=0, emotions={})},
        durations=taken.durations,
    )


def check_source(source: Path) -> None:
    """Finds out whether a data set's tables can be read, before anything is started for them.

    Raises:
        UsageError: they cannot; the message names what is wrong with which file.
    """
    if source.is_dir():
        _read_tree(source)
    else:
        read_own(source)


def check_folder(folder: Path) -> None:
    """Finds out whether a plain folder of clips can be read; no clip is opened.

    Raises:
        UsageError: see ``take_in_folder``.
    """
    for _ in read_folder(folder):
        pass


def _read_tree(root: Path) -> tuple[Tree, tuple[Table, ...], tuple[Table, ...]]:
    """A MELD tree, its annotations, and further copies of them, unread."""
    tree = walk(root)
    chosen, others = find_sources(tree)
    tables = tuple(map(read_source, chosen))
    if not any(table.rows for table in tables):
        raise UsageError(f"dataset {root}: its annotation files hold no utterances")
    return tree, tables, others


def _take_in_tree(root: Path, take: Take, fix_list: FixList) -> Intake:
    """Findings are about the rows as they were written, the catalogue holds them mended."""
    tree, written, others = _read_tree(root)
    relevant = fix_list.about(written)
    tables = tuple(map(relevant.mend, written))
    layout = lay_out(tree, tables)
    wanted = [_wanted(row, layout) for row in _rows(tables)]
    taken = take(wanted) if take else leave_clips(wanted)
    noticed = (
        *other_copies(others, written),
        *_checked(CHECKS, written),
        *(layout_findings(tree, layout, tables) if take else ()),
        *taken.findings,
    )
    findings = (*relevant.explain(noticed), *relevant.reports())
    return dataclasses.replace(
        _intake(tables, taken, findings),
        fixes=relevant.seen(findings),
        fixes_version=fix_list.version,
    )


def _take_in_table(file: Path, take: Take) -> Intake:
    tables = read_own(file)
    wanted = [wanted_by(row, file.parent) for row in _rows(tables)]
    taken = take(wanted) if take else leave_clips(wanted)
    return _intake(tables, taken, (*_checked(OWN_CHECKS, tables), *taken.findings))


def _intake(tables: Sequence[Table], taken: Taken, findings: tuple[Finding, ...]) -> Intake:
    pairs = zip(_rows(tables), taken.clips, strict=True)
    return Intake(
        utterances=tuple(row.utterance_with(clip) for row, clip in pairs),
        findings=findings,
        splits={table.split: table.counts for table in tables},
        files=tuple(dict.fromkeys(table.file for table in tables)),
        durations=taken.durations,
    )


def _wanted(row: Row, layout: Layout) -> Wanted:
    return Wanted(
        id=row.id,
        split=row.split,
        seconds=row.seconds,
        candidates=layout.candidates(row.split, row.clip_key),
        expected=layout.expected(row.split, row.clip_key),
    )


def _rows(tables: Iterable[Table]) -> Iterator[Row]:
    return (row for table in tables for row in table.rows)


def _checked(checks: Iterable[Check], tables: Sequence[Table]) -> Iterator[Finding]:
    return (finding for check in checks for finding in check(tables))
