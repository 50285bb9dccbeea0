"""An empty data base of Prefect's, ready made.

A server that finds none goes through all of Prefect's migrations, which takes half of its start:
5 of 11 s. So the first one leaves a copy of its own for later ones, by Prefect's version. It is
taken before anything has run, and holds nothing but tables and Prefect's own kinds of blocks.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from importlib.metadata import version
from pathlib import Path

import platformdirs

NAME = "prefect.db"
"""What Prefect calls it, in its home."""


def ready_made() -> Path:
    """Where the copy is, or will be."""
    return platformdirs.user_cache_path("meldflow") / f"prefect-{version('prefect')}.db"


def take(home: Path) -> bool:
    """Puts a copy into a home of Prefect's; False where there is no sound one."""
    kept, mine = ready_made(), home / NAME
    try:
        shutil.copyfile(kept, mine)
        if _is_sound(mine):
            return True
        kept.unlink()
    except OSError:
        pass  # none, or one that cannot be read: the server makes its own
    mine.unlink(missing_ok=True)
    return False


def keep(home: Path) -> None:
    """Leaves the data base of a server that has just started for later ones, whole or not at all.

    One that cannot be left costs the next server its time and nobody else anything.
    """
    kept = ready_made()
    with contextlib.suppress(OSError, sqlite3.Error):
        kept.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=kept.parent, prefix="prefect-") as folder:
            draft = Path(folder, NAME)
            with contextlib.closing(sqlite3.connect(home / NAME, timeout=5)) as source:
                source.execute("VACUUM INTO ?", (str(draft),))
            draft.replace(kept)


def _is_sound(file: Path) -> bool:
    try:
        with contextlib.closing(sqlite3.connect(file)) as opened:
            ((found,),) = opened.execute("PRAGMA quick_check(1)").fetchall()
            ((tables,),) = opened.execute("SELECT count(*) FROM sqlite_master").fetchall()
    except sqlite3.Error:
        return False
    return bool(found == "ok" and tables)
