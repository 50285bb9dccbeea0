"""``python -m tests.truth FOLDER``: what differs between meldflow and others on those clips."""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.paths import DATA
from tests.real import CONTAINERS, FILMS, SENTENCE, SOUNDS
from tests.truth.examine import Finding, examine

BESIDE = (DATA / "clips", DATA / "cases")
"""Real clips, and clips that went wrong once."""
MEDIA = (*BESIDE, SENTENCE, *FILMS, *CONTAINERS, *SOUNDS)
"""What is examined by default: those, and what packages ship."""
_NO_MEDIA = frozenset({".md", ".csv", ".parquet", ".txt", ".json"})


def clips(places: Sequence[Path]) -> Iterator[Path]:
    """The files of the places, folders searched, without what is known to be none."""
    for place in places:
        below = sorted(place.rglob("*")) if place.is_dir() else [place]
        yield from (one for one in below if one.is_file() and one.suffix not in _NO_MEDIA)


def main() -> None:
    """Examines, prints, and fails where something is not explained."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("places", nargs="*", type=Path, default=MEDIA, help="files or folders")
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    parser.add_argument("--networks", action="store_true", help="networks too, one clip at a time")
    given = parser.parse_args()
    for place in given.places:
        if not place.exists() and given.places is not MEDIA:
            sys.exit(f"truth: {place} is not there")
    warnings.simplefilter("ignore")
    files = list(clips([place for place in given.places if place.exists()]))
    if not files:
        sys.exit("truth: there is no file to examine")
    found = _examined(files, networks=given.networks)
    if given.json:
        json.dump([one.to_json() for one in found], sys.stdout, indent=1)
    else:
        _show(found, len(files))
    sys.exit(any(not one.agree and not one.reason for one in found))


def _examined(files: Sequence[Path], *, networks: bool) -> list[Finding]:
    console = Console(stderr=True)
    found: list[Finding] = []
    with console.status("starting") as status:
        for number, file in enumerate(files, start=1):
            status.update(f"{number} of {len(files)}: {file.name}")
            found.extend(examine(file))
        if networks:
            from tests.truth.networks import compared

            for file in files:
                status.update(f"networks: {file.name}")
                found.extend(compared(file))
    return found


def _show(found: Sequence[Finding], n_files: int) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    differ = [one for one in found if not one.agree]
    unexplained = [one for one in differ if not one.reason]
    for title, rows in (
        ("explained", [one for one in differ if one.reason]),
        ("not explained", unexplained),
    ):
        if not rows:
            continue
        table = Table("clip", "what", "meldflow", "others", title=title, title_justify="left")
        if title == "explained":
            table.add_column("why")
        for one in rows:
            cells = (one.clip, one.what, one.ours, one.theirs, one.reason)
            table.add_row(*cells[: len(table.columns)])
        console.print(table, markup=False, highlight=False)
    console.print(
        f"{n_files} files, {len(found)} figures: {len(found) - len(differ)} agree, "
        f"{len(differ) - len(unexplained)} differ for a known reason, {len(unexplained)} differ.",
        highlight=False,
    )


if __name__ == "__main__":
    main()
