"""One walk over a folder: what files there are, and what could not be looked at."""

import mimetypes
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from meldflow.models.schema.errors import UsageError

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov")
"""What the clips of a MELD tree may be, the preferred one first."""

MEDIA_SUFFIXES = frozenset(
    (
        *VIDEO_SUFFIXES,
        *(".m4v", ".webm", ".mpg", ".mpeg", ".vob", ".ts", ".mts", ".m2ts", ".flv", ".f4v"),
        *(".wmv", ".asf", ".3gp", ".3g2", ".ogv", ".mxf", ".rm"),
        *(".wav", ".flac", ".mp3", ".m4a", ".m4b", ".mka", ".aac", ".ac3", ".ogg", ".oga"),
        *(".opus", ".wma", ".aif", ".aiff", ".au", ".wv", ".amr", ".caf"),
    )
)
"""What counts as a clip even where nobody can open it; of any other name, FFmpeg decides."""

_TYPES = mimetypes.MimeTypes().types_map[True]  # Python's own, whatever the machine knows


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """A folder and everything below it."""

    root: Path
    folders: Mapping[Path, tuple[str, ...]]
    """Folder → names of its files, sorted."""
    hidden: Mapping[Path, tuple[str, ...]]
    """Folder → names of hidden files and folders in it, ``__MACOSX`` among them."""
    closed: Mapping[Path, str]
    """File or folder that cannot be taken → why."""

    @property
    def files(self) -> Iterator[Path]:
        """Every file, folder by folder."""
        return (folder / name for folder, names in self.folders.items() for name in names)


def walk(root: Path, what: str = "dataset") -> Tree:
    """The tree below ``root``, which messages call ``what``.

    Links to folders are followed after all else, and no folder is entered twice: a new link
    changes no path of what was there before.

    Raises:
        UsageError: ``root`` is no folder or may not be listed.
    """
    if not is_folder(root, what):
        raise UsageError(f"{what} {root}: is a file, not a folder")
    folders, hidden, closed = {}, {}, {}
    entered = {_identity(folder) for folder in root.resolve().parents}

    def refuse(error: OSError) -> None:
        closed[Path(error.filename)] = f"cannot be listed ({error.strerror or error})"

    starts = [root]
    for start in starts:  # grows by the links to folders that are met
        for place, below, names in os.walk(start, onerror=refuse):
            folder = Path(place)
            if (identity := _identity(folder)) in entered:
                below.clear()
                continue
            entered.add(identity)
            hidden[folder] = tuple(sorted(filter(_is_hidden, (*below, *names))))
            odd = [name for name in (*below, *names) if not is_text(name)]
            closed |= dict.fromkeys(
                (folder / name for name in odd), "its name is no UTF-8; rename it"
            )
            taken = {*odd, *hidden[folder]}
            folders[folder] = tuple(sorted(name for name in names if name not in taken))
            below[:] = sorted(name for name in below if name not in taken)
            starts += [folder / name for name in below if (folder / name).is_symlink()]
    if root in closed:
        raise UsageError(f"{what} {root}: {closed[root]}")
    return Tree(root=root, folders=folders, hidden=hidden, closed=closed)


def is_folder(path: Path, what: str) -> bool:
    """Whether what is there is a folder; messages call it ``what``.

    Raises:
        UsageError: nothing is there, or it may not be looked at.
    """
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{what} {path}: does not exist") from None
    except OSError as error:
        raise UsageError(f"{what} {path}: cannot be looked at ({error.strerror})") from error


def is_media(name: str) -> bool:
    """Whether a file is called like sound or pictures."""
    return Path(name).suffix.lower() in MEDIA_SUFFIXES


def other_type(name: str) -> str:
    """What a file is by its name that is no clip, e.g. ``image/png``; empty where nobody knows."""
    kind = _TYPES.get(Path(name).suffix.lower(), "")
    known = kind.partition("/")[0] not in ("", "audio", "video")
    return kind if known and kind != "application/octet-stream" and not is_media(name) else ""


def _is_hidden(name: str) -> bool:
    return name[0] == "." or name == "__MACOSX"


def is_text(name: str) -> bool:
    """Whether the name is valid Unicode, so that a store can keep it."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(folder: Path) -> tuple[int, int]:
    try:
        status = folder.stat()
    except OSError:  # gone meanwhile
        return -1, hash(folder)
    return status.st_dev, status.st_ino
