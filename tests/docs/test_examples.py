"""The examples of the docs: Python is run, commands are parsed, docstrings are tried.

``<!-- not run -->`` before a block of Python says that it needs more than a small store; of such
a block only the imports are run.
"""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import shlex
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import meldflow.flows.cli.main  # noqa: F401 (it registers the commands)
from meldflow.flows.cli.app import app
from meldflow.flows.cli.parameters import spread_reasons
from tests.paths import ROOT

ROOMS = ("flows", "tasks", "models", "storage")

PAGES = {
    str(page.relative_to(ROOT)): page.read_text()
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
}
BLOCK = re.compile(r"^(<!-- not run -->\n)?( *)```(\w*)[^\n]*\n(.*?)^\2```$", re.M | re.S)
OUTPUT = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS


def python(text: str) -> Iterator[tuple[bool, str]]:
    """Whether to run each block of Python, and the block."""
    for unrun, indent, language, code in BLOCK.findall(text):
        if language in {"python", "pycon"}:
            yield not unrun, re.sub(f"^{indent}", "", code, flags=re.M)


def commands() -> Iterator[str]:
    """Every line of a block, joined where it goes on, that calls meldflow."""
    for text in PAGES.values():
        for _, _, language, code in BLOCK.findall(text):
            if language in {"", "console", "shell"}:
                lines = re.sub(r"\\\n\s*", "", code).splitlines()
                yield from (one.strip(" $") for one in lines if one.strip(" $")[:9] == "meldflow ")


def try_out(test: doctest.DocTest) -> None:
    told: list[str] = []
    runner = doctest.DocTestRunner(optionflags=OUTPUT)
    runner.run(test, out=told.append, clear_globs=False)
    assert not told, "".join(told)


@pytest.mark.parametrize("page", [name for name, text in PAGES.items() if any(python(text))])
def test_python_of_the_docs(page: str, example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example)
    module = types.ModuleType("example")  # one that its classes can be unpickled from
    monkeypatch.setitem(sys.modules, "example", module)
    names = vars(module)
    for run, code in python(PAGES[page]):
        if ">>>" in code:
            test = doctest.DocTestParser().get_doctest(code, names, page, page, 0)
            test.globs = names  # not a copy: the next block goes on from here
            try_out(test)
            continue
        tree = ast.parse(code, page)
        if not run:
            tree.body = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
        exec(compile(tree, page, "exec", dont_inherit=True), names)


@pytest.mark.parametrize("line", sorted(set(commands())))
def test_commands_of_the_docs_are_understood(line: str) -> None:
    command: Any = typer.main.get_command(app)
    _, *words = spread_reasons(shlex.split(line, comments=True))
    while hasattr(command, "commands"):
        command = command.commands[words.pop(0)]
    command.make_context("meldflow", words)  # parses, and runs nothing


FILES = [
    *(ROOT / "src").glob("meldflow/*.py"),
    *(file for room in ROOMS for file in (ROOT / room).rglob("*.py")),
]


@pytest.mark.parametrize("file", [one for one in FILES if ">>>" in one.read_text()], ids=str)
def test_docstrings_of_the_product(file: Path) -> None:
    *folders, name = file.relative_to(ROOT).with_suffix("").parts
    inside = [] if folders[:1] == ["src"] else folders
    module = importlib.import_module(".".join(["meldflow", *inside, name]))
    for test in doctest.DocTestFinder().find(module):
        try_out(test)
