"""Writes ``docs/performance.md`` from what the benches print as JSON.

``python -m tests.bench.report.document bench docs/performance.md --run`` runs the benches whose
JSON is not in the folder ``bench`` yet, one after the other, and writes the document; without
``--run`` it takes what is there. A bench that fails costs its section, and the next call tries it
again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from meldflow.models.schema.errors import MeldflowError, UsageError
from meldflow.tasks.watching.words import text
from tests.bench.report.sections import SECTIONS, Section
from tests.bench.report.tables import tables

INTRODUCTION = """\
# Performance

What meldflow costs, measured. `make performance` runs the benches that the folder `bench` has no
figures of (delete a file there to measure it anew) and writes this page. Every section names its
command. The figures hold for the machine below: elsewhere, trust the ratios more than the seconds.
MB of memory are 2^20 bytes."""


def document(folder: Path) -> str:
    """The document, as Markdown.

    Args:
        folder: holds ``NAME.json`` for the benches that were run.

    Raises:
        UsageError: a file there is no JSON.
    """
    found = {section.name: _read(folder, section.name) for section in SECTIONS}
    for section in SECTIONS:
        if found[section.name] is None and found.get(section.within):
            around = found[section.within]
            found[section.name] = around[section.name] | {"measured": around.get("measured")}
    measured = filter(None, map(_measured, found.values()))
    newest: dict[str, Any] = max(measured, key=lambda one: str(one["date"]), default={})
    parts = [INTRODUCTION, *_machine(newest)]
    for section in SECTIONS:
        parts += ["", *_section(section, found[section.name], newest)]
    return "\n".join(parts) + "\n"


def run(folder: Path, console: Console) -> list[str]:
    """Runs the benches that the folder has no JSON of; gives the names of those that failed."""
    folder.mkdir(parents=True, exist_ok=True)
    failed = []
    for section in SECTIONS:
        target, draft = folder / f"{section.name}.json", folder / f"{section.name}.part"
        if target.exists() or section.within:
            continue
        console.print(section.line, highlight=False)
        command = (sys.executable, "-m", "tests.bench", section.name, "--json")
        with draft.open("w") as output:
            done = subprocess.run(command, stdout=output, check=False)
        if done.returncode:
            failed.append(section.name)
            continue
        draft.rename(target)  # what is there under its name is whole
    return failed


def _read(folder: Path, name: str) -> Any:
    """What the file holds; None where there is none.

    Raises:
        UsageError: it is no JSON.
    """
    file = folder / f"{name}.json"
    if not file.exists():
        return None
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UsageError(f"bench {file}: is no JSON ({error})") from error


def _measured(found: Any) -> dict[str, Any]:
    """Where and when a bench's figures were measured; empty where they do not say."""
    measured = found.get("measured") if isinstance(found, dict) else None
    return measured if isinstance(measured, dict) else {}


def _machine(newest: Mapping[str, Any]) -> Iterator[str]:
    yield ""
    if not newest:
        yield "The machine was not recorded."
        return
    yield f"Measured on {_hardware(newest['hardware'])}."
    yield ""
    yield f"Versions: {_versions(newest)}."


def _versions(of: Mapping[str, Any]) -> str:
    return text(", ".join(f"{name} {number}" for name, number in of["versions"].items()))


def _hardware(of: Mapping[str, Any]) -> str:
    words = (
        text(str(of["cpu"])) if "cpu" in of else "",
        f"{of['cores']} cores" if "cores" in of else "",
        f"{of['memory_gib']} GiB of memory" if "memory_gib" in of else "",
        text(str(of.get("system", ""))),
    )
    return ", ".join(filter(None, words)) or "a machine that was not recorded"


def _section(section: Section, found: Any, newest: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {section.title}"
    yield ""
    if found is None:
        yield f"Not run. `{section.line}` measures it."
        return
    yield section.about
    yield ""
    for one in tables(found, section.figures):
        rows = (tuple(map(text, row)) for row in one.rows)
        yield from table(tuple(map(text, one.head)), rows, " " + "r" * (len(one.head) - 1))
        yield ""
    yield _origin(section, _measured(found), newest)


def _origin(section: Section, measured: Mapping[str, Any], newest: Mapping[str, Any]) -> str:
    """The command, the date, and what was otherwise than for the newest figures."""
    if not measured:
        return f"`{section.line}`"
    where = _hardware(measured["hardware"])
    others = [where] if where != _hardware(newest["hardware"]) else []
    known, own = newest["versions"], measured["versions"]
    if changed := {name: number for name, number in own.items() if known.get(name) != number}:
        others.append(_versions({"versions": changed}))
    return ", ".join([f"`{measured['command']}`", measured["date"], *others])


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs what is to be run, and writes the document."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="holds NAME.json for every bench")
    parser.add_argument("out", type=Path, help="the document")
    parser.add_argument("--run", action="store_true", help="run the benches that are not there")
    given = parser.parse_args(arguments)
    console = Console(stderr=True)
    failed = run(given.folder, console) if given.run else []
    try:
        words = document(given.folder)
    except MeldflowError as error:
        sys.exit(str(error))
    given.out.write_text(words, encoding="utf-8")
    console.print(f"wrote {given.out}", highlight=False)
    if failed:
        sys.exit(f"failed: {', '.join(failed)}; the same command tries them again")


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: str = "") -> list[str]:
    """Lines of a Markdown table, from cells that are Markdown already.

    Args:
        head: names of the columns.
        rows: their cells.
        right: a character per column, ``r`` for those of numbers.
    """
    rule = ["---:" if mark == "r" else "---" for mark in right.ljust(len(head))]
    return [f"| {' | '.join(cells)} |" for cells in (head, rule, *rows)]


if __name__ == "__main__":
    main()
