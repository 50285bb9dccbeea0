"""One walk over a folder: what files there are, and what could not be looked at."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meldflow.models.schema.errors import UsageError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")
"""What the clips of a MELD tree may be, the preferred one first."""

MEDIA_SUFFIXES = frozenset(
    (
        *VIDEO_SUFFIXES,
        *(".m4v", ".webm", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp", ".ogv"),
        *(".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus", ".wma", ".aif", ".aiff"),
    )
)
"""What counts as a clip in a plain folder."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A folder and everything below it; hidden files and folders and ``__MACOSX`` left out."""

    root: Path
    folders: Mapping[Path, tuple[str, ...]]
    """Folder → names of its files, sorted."""
    stubs: Mapping[Path, int]
    """Folder → macOS ``._`` files in it."""
    closed: Mapping[Path, str]
    """Folder that may not be listed → why."""

    @property
    def files(self) -> Iterator[Path]:
        """Every file, folder by folder."""
        return (folder / name for folder, names in self.folders.items() for name in names)


def walk(root: Path, what: str = "dataset") -> Tree:
    """The tree below ``root``, which messages call ``what``.

    Links to folders are followed, but no folder is entered twice.

    A folder that is called like a clip is listed as a file: whoever opens it sees that it is
    none.

    Raises:
        UsageError: ``root`` is no folder or may not be listed.
    """
    if not root.is_dir():
        wrong = "is a file, not a folder" if root.is_file() else "does not exist"
        raise UsageError(f"{what} {root}: {wrong}")
    folders, stubs, closed = {}, {}, {}
    entered = {_identity(folder) for folder in (root, *root.resolve().parents)}

    def refuse(error: OSError) -> None:
        closed[Path(error.filename)] = error.strerror or str(error)

    for place, below, names in os.walk(root, onerror=refuse, followlinks=True):
        folder = Path(place)
        clips = [name for name in below if is_media(name)]
        folders[folder] = tuple(sorted(name for name in (*names, *clips) if name[0] != "."))
        stubs[folder] = sum(name.startswith("._") for name in names)
        below[:] = sorted(name for name in below if _to_enter(folder / name, entered))
    if root in closed:
        raise UsageError(f"{what} {root}: cannot be listed ({closed[root]})")
    return Tree(
        root=root,
        folders=folders,
        stubs={folder: count for folder, count in stubs.items() if count},
        closed=closed,
    )


def is_media(name: str) -> bool:
    """Whether a file is called like sound or pictures."""
    return Path(name).suffix.lower() in MEDIA_SUFFIXES


def _to_enter(folder: Path, entered: set[tuple[int, int]]) -> bool:
    """Whether the walk goes on into ``folder``; notes that it did."""
    if folder.name[0] == "." or folder.name == "__MACOSX" or is_media(folder.name):
        return False
    identity = _identity(folder)
    if identity in entered:
        return False
    entered.add(identity)
    return True


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:  # gone, or not to be looked at: listing it will say so
        return -1, hash(folder)
    return status.st_dev, status.st_ino
