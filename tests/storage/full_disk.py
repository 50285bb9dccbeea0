"""Runs on a disk that is full: ``python -m tests.storage.full_disk FOLDER SEED``.

The folder is a small file system of its own. A ballast file leaves less and less room; every
run has to publish or to end in one of our errors, with ``main`` as it was. Then there is room
again, and the next run ends. Prints one line of JSON: what each run said.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from meldflow.storage import open_store
from tests.storage.attempt import Answer, Wish, attempt
from tests.storage.states import state
from tests.storage.truth import stored_rows, true_rows

ROOM = (0, 8, 32, 64, 96)
"""KiB that are left."""


def main(folder: Path, seed: int) -> list[str]:
    """What the runs said, one after the other; empty where a run was published."""
    url, ballast = str(folder / "s"), folder / "ballast"
    run(url, seed, 0)
    said = []
    for room in ROOM:
        fill(folder, ballast, room * 1024)
        before = open_store(url).id
        said.append(run(url, seed, 1).failure)
        if said[-1] and open_store(url).id != before:
            raise RuntimeError("main moved, and the run failed")
        ballast.unlink()
    run(url, seed, 1)
    one = state(seed, 1)
    if stored_rows(open_store(url)) != true_rows(one.utterances, one.specs):
        raise RuntimeError("the last run did not publish what it should")
    return said


def run(url: str, seed: int, number: int) -> Answer:
    """One run in this process."""
    return attempt(Wish(action="extract", url=url, seed=seed, state=number))


def fill(folder: Path, ballast: Path, room: int) -> None:
    """Writes a file that leaves ``room`` bytes."""
    disk = os.statvfs(folder)
    ballast.write_bytes(bytes(max(0, disk.f_bavail * disk.f_frsize - room)))


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
