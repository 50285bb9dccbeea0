"""Whether a data set changed: a cheap look at names, sizes and times, remembered until the next."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from meldflow.tasks.dataset.own import Beside, read_own
from meldflow.tasks.dataset.tree import walk

NOTHING_NEW = "Nothing new"
"""State, by name, of a look that told nobody of anything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of a data set; prints are hexadecimal, empty for never."""

    last: str = ""
    """Print of the last look."""
    told: str = ""
    """Print of the state that was last told of."""
    files: int = 0
    """Files at the last look."""

    def is_news(self, now: Seen) -> bool:
        """Whether ``now`` is to be told: it is new, and two looks in a row agree.

        Whoever is half way through copying files is so left alone. The first two looks count as
        news: nothing that arrived before them is missed, and where all is extracted, nothing is
        done.
        """
        return now.last == self.last and now.last != self.told

    @classmethod
    def of(cls, value: object) -> Seen:
        """What was remembered; nothing, where nothing can be made of it."""
        try:
            return cls(**value) if isinstance(value, dict) else cls()
        except TypeError:
            return cls()


def look(dataset: Path) -> Seen:
    """Looks at a data set without reading a clip.

    Raises:
        UsageError: it is not there, or cannot be listed.
    """
    print_, files = hashlib.sha256(), 0
    for file in sorted(_files(dataset)):
        print_.update(f"{file}\0{_state(file)}\n".encode(errors="surrogateescape"))
        files += 1
    return Seen(last=print_.hexdigest(), files=files)


def memory_of(dataset: Path) -> str:
    """Name of the Prefect variable that remembers what was seen of a data set."""
    return f"meldflow-seen-{hashlib.sha256(str(dataset).encode()).hexdigest()[:16]}"


def _files(dataset: Path) -> Iterator[Path]:
    if dataset.is_dir():
        yield from walk(dataset).files
        return
    yield dataset
    beside = Beside(dataset.parent)
    for table in read_own(dataset):
        for row in table.rows:
            yield from beside.wanted(row).candidates


def _state(file: Path) -> str:
    try:
        status = file.stat()
    except OSError:
        return "missing"
    return f"{status.st_size} {status.st_mtime_ns}"
