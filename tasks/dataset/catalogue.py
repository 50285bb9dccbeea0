"""From a path to a catalogue of utterances, and findings about everything on the way."""

from collections.abc import Mapping
from pathlib import Path

from meldflow.models.schema.errors import UsageError
from meldflow.storage.format.catalogue import listing
from meldflow.tasks.dataset import own
from meldflow.tasks.dataset.annotations import find_sources, other_copies, read_source
from meldflow.tasks.dataset.checks import CHECKS, OWN_CHECKS
from meldflow.tasks.dataset.clips import no_clips, take_clips
from meldflow.tasks.dataset.fixes import NONE, load_fixes
from meldflow.tasks.dataset.layout import Layout, lay_out, layout_findings
from meldflow.tasks.dataset.records import Intake, Known, Table
from meldflow.tasks.dataset.tree import Tree, is_folder, walk


def take_in(
    source: Path,
    *,
    known: Mapping[str, Known] | None = None,
    checksums: bool = True,
    clips: bool = True,
    fixes: bool = True,
) -> Intake:
    """The catalogue of a data set. Nothing is dropped: a row without a clip stays in it.

    Args:
        source: a folder with MELD's annotation files and clips at any depth, or a ``.csv`` or
            ``.parquet`` file in the own-data schema (docs/dataset.md).
        known: path → what the store has of it; a file whose size and time of change are the same
            is not read again.
        checksums: False: only the headers of clips are read, and no clip has a checksum.
        clips: False: clips are left alone altogether.
        fixes: whether the list of known defects is used.

    Raises:
        UsageError: ``source`` or its tables cannot be read; see ``check_source``.
    """
    tree, written, others = _read(source)
    fix_list = (load_fixes() if fixes and tree else NONE).about(written)
    tables = tuple(map(fix_list.mend, written))
    layout = lay_out(tree, tables) if tree else own.Beside(source.parent)
    rows = (row for table in tables for row in table.rows)
    utterances, findings = (
        take_clips(map(layout.wanted, rows), known=known or {}, checksums=checksums)
        if clips
        else (listing(rows), ())
    )
    noticed = (
        *other_copies(others, written),
        *(finding for check in (CHECKS if tree else OWN_CHECKS) for finding in check(written)),
        *(layout_findings(layout, tables) if clips and isinstance(layout, Layout) else ()),
        *findings,
    )
    found = (*fix_list.explain(noticed), *fix_list.reports())
    return Intake(
        utterances=utterances,
        findings=found,
        files=tuple(dict.fromkeys(table.file for table in tables)),
        fixes=fix_list.seen(found),
        fixes_version=fix_list.version,
    )


def take_in_folder(folder: Path, *, known: Mapping[str, Known] | None = None) -> Intake:
    """The catalogue of a plain folder: one utterance per clip, in the order of their names.

    Args:
        folder: what holds the clips, at any depth; their words may lie in ``.txt`` files beside.
        known: see ``take_in``; a clip that the store has keeps its name.

    Raises:
        UsageError: the folder cannot be listed, or holds no clips.
    """
    known, tree = known or {}, walk(folder, "clips")
    others = no_clips(own.clips_in(tree), known)
    files = [file for file in own.clips_in(tree) if file not in others]
    if not files:
        raise UsageError(
            f"clips {folder}: nothing in it or below it holds sound or moving pictures"
        )
    beside = own.texts_beside(files, tree)
    texts = {file: own.read_text(file) for file in dict.fromkeys(beside.values())}
    names = own.name_clips(files, folder, known)
    said = [texts[beside[file]][0] if file in beside else "" for file in files]
    utterances, findings = take_clips(map(own.clip_wanted, names, said, files), known=known)
    garbled = (finding for _, finding in texts.values() if finding)
    return Intake(
        utterances=utterances,
        findings=(*own.left_out(tree, others, texts), *garbled, *findings),
    )


def check_source(source: Path) -> None:
    """Finds out whether a data set's tables can be read, before anything is started for them.

    Raises:
        UsageError: they cannot; the message names what is wrong with which file.
    """
    _read(source)


def check_folder(folder: Path) -> None:
    """Finds out whether a plain folder of clips can be read; no clip is opened.

    Raises:
        UsageError: see ``take_in_folder``.
    """
    own.clips_in(walk(folder, "clips"))


def _read(source: Path) -> tuple[Tree | None, tuple[Table, ...], tuple[Table, ...]]:
    """A MELD tree, its annotations, and further copies of them, unread; or a table of one's own."""
    if not is_folder(source, "dataset"):
        return None, own.read_own(source), ()
    tree = walk(source)
    chosen, others = find_sources(tree)
    tables = tuple(map(read_source, chosen))
    if not any(table.rows for table in tables):
        raise UsageError(f"dataset {source}: its annotation files hold no utterances")
    return tree, tables, others
