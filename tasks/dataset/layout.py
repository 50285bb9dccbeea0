"""Which clips of a tree belong to which split, and which of them a row may mean."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meldflow.models.schema.utterances import CLIP_FOLDERS, utterance_id
from meldflow.tasks.dataset.records import Finding, Kind, Row, Table, Wanted
from meldflow.tasks.dataset.tree import VIDEO_SUFFIXES, Tree
from meldflow.tasks.pages.text import readable

SPELLINGS = {
    **{"train": "train", "training": "train", "trn": "train"},
    **{"dev": "dev", "val": "dev", "valid": "dev", "validation": "dev", "development": "dev"},
    **{"test": "test", "testing": "test", "tst": "test"},
}
"""What people call a split, in lower case → the split."""

FOLDER_NAMES = {
    **{folder: split for split, folder in CLIP_FOLDERS.items()},
    **SPELLINGS,
    **{"dev_splits": "dev", "test_splits": "test"},
}
"""Name of a folder, in lower case → the split whose clips it holds."""

ENOUGH = 0.5
"""Share of clips and rows, of all that there are of either, that must have the same ids before
a folder that nothing else tells about is taken for a split's. Two of MELD's own splits share
at most 0.43."""

Key = tuple[int, int]
"""Dialogue and utterance."""

_SUFFIX = "|".join(map(re.escape, VIDEO_SUFFIXES))
_CLIP_NAME = re.compile(
    rf"(final_videos_test)?dia(\d{{1,9}})_utt(\d{{1,9}})({_SUFFIX})", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipFolder:
    """A folder that holds clips."""

    path: Path
    clips: Mapping[Key, tuple[str, ...]]
    """Key → names of the files that may be its clip, the plain one first, then the re-cut."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """The folders of each split that has annotations."""

    tree: Tree
    folders: Mapping[str, tuple[ClipFolder, ...]]
    """Split → folders; a clip that is in several of them is taken from the first."""
    unclaimed: tuple[ClipFolder, ...]
    """Folders that belong to none of the splits."""

    def wanted(self, row: Row) -> Wanted:
        """A row, the files that may be its clip, and where that should be."""
        key, folders = row.clip_key, self.folders[row.split]
        holds = next((one for one in folders if key in one.clips), None)
        usual = folders[0].path if folders else self.tree.root / CLIP_FOLDERS[row.split]
        return Wanted(
            utterance=row,
            candidates=tuple(holds.path / name for name in holds.clips[key]) if holds else (),
            expected=usual / f"dia{key[0]}_utt{key[1]}.mp4",
        )


def is_recut(path: Path) -> bool:
    """Whether a clip is one of those that MELD cut again, beside their first cut."""
    return path.name.lower().startswith("final_videos_test")


def lay_out(tree: Tree, tables: Sequence[Table]) -> Layout:
    """The layout of a tree, by its folders' names, its annotation files' places, or its ids."""
    keys = {table.split: _keys(table) for table in tables}
    folders: dict[str, list[ClipFolder]] = {split: [] for split in keys}
    unclaimed: list[ClipFolder] = []
    for folder in _clip_folders(tree):
        split = _named(folder, tree.root) or _beside(folder, tables) or _best_match(folder, keys)
        folders.get(split or "", unclaimed).append(folder)
    return Layout(
        tree=tree,
        folders={split: _ranked(split, found, keys[split]) for split, found in folders.items()},
        unclaimed=tuple(unclaimed),
    )


def layout_findings(layout: Layout, tables: Sequence[Table]) -> Iterator[Finding]:
    """What a tree holds beside the clips that rows name."""
    for folder, names in layout.tree.hidden.items():
        if count := sum(name.startswith("._") for name in names):
            yield Finding(Kind.STUB, "", str(folder), f"{count} files `._*` of macOS", "left out")
    for place, why in layout.tree.closed.items():
        yield Finding(Kind.LEFT_OUT, "", readable(str(place)), why, "left out")
    for one in layout.unclaimed:
        detail = f"its clips ({len(one.clips):,}) are of no split that has annotations here"
        yield Finding(Kind.CLIP_WITHOUT_ROW, "", str(one.path), detail, "left out")
    for table in tables:
        yield from _repeated(table.split, layout.folders[table.split])
        if not table.dyadic:  # it names a part of MELD's clips only
            yield from _without_row(table, layout.folders[table.split])


def _clip_folders(tree: Tree) -> Iterator[ClipFolder]:
    for folder, names in tree.folders.items():
        found: dict[Key, list[str]] = {}
        for match in filter(None, map(_CLIP_NAME.fullmatch, names)):
            found.setdefault((int(match[2]), int(match[3])), []).append(match[0])
        if found:
            clips = {key: tuple(sorted(names, key=_preference)) for key, names in found.items()}
            yield ClipFolder(path=folder, clips=clips)


def _preference(name: str) -> tuple[bool, int, str]:
    path = Path(name)
    return is_recut(path), VIDEO_SUFFIXES.index(path.suffix.lower()), name


def _named(folder: ClipFolder, root: Path) -> str | None:
    """The split after which the folder, or the next one above it, is called."""
    for place in (folder.path, *folder.path.parents):
        if place == root:  # what the root is called is its owner's business
            return None
        if place.name.lower() in FOLDER_NAMES:
            return FOLDER_NAMES[place.name.lower()]
    return None


def _beside(folder: ClipFolder, tables: Sequence[Table]) -> str | None:
    """The split whose annotation file, and no other, lies in the folder or above it."""
    for place in (folder.path, *folder.path.parents):
        splits = [table.split for table in tables if table.file.parent == place]
        if splits:
            return splits[0] if len(splits) == 1 else None
    return None


def _best_match(folder: ClipFolder, keys: Mapping[str, set[Key]]) -> str | None:
    """The split whose ids are those of the folder's clips."""
    clips = folder.clips.keys()
    share = {split: len(clips & wanted) / len(clips | wanted) for split, wanted in keys.items()}
    best = max(share, key=share.__getitem__)
    return best if share[best] >= ENOUGH else None


def _ranked(split: str, folders: Sequence[ClipFolder], keys: set[Key]) -> tuple[ClipFolder, ...]:
    """Folders with MELD's own name first, then those with more of the split's clips."""

    def rank(folder: ClipFolder) -> tuple[bool, int, str]:
        other_name = folder.path.name.lower() != CLIP_FOLDERS.get(split)
        return other_name, -len(folder.clips.keys() & keys), str(folder.path)

    return tuple(sorted(folders, key=rank))


def _keys(table: Table) -> set[Key]:
    return {row.clip_key for row in table.rows}


def _repeated(split: str, folders: Sequence[ClipFolder]) -> Iterator[Finding]:
    """Folders whose clips are in another folder of the split as well."""
    seen: set[Key] = set()
    for folder in folders:
        if again := folder.clips.keys() & seen:
            detail = f"{len(again):,} of its {len(folder.clips):,} clips are elsewhere as well"
            decision = f"those are not used; {folders[0].path} comes first"
            yield Finding(Kind.OTHER_COPY, split, str(folder.path), detail, decision)
        seen |= folder.clips.keys()


def _without_row(table: Table, folders: Sequence[ClipFolder]) -> Iterator[Finding]:
    wanted = _keys(table)
    for key, names in (pair for folder in folders for pair in folder.clips.items()):
        if key not in wanted:
            subject, what = utterance_id(table.split, *key), f"no row names {', '.join(names)}"
            yield Finding(Kind.CLIP_WITHOUT_ROW, table.split, subject, what, "left out")
