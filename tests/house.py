"""Measures the product's code, and says where it breaks the rules of the house.

``python -m tests.house --json`` prints every figure.
"""

from __future__ import annotations

import argparse
import ast
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeAlias

from tests.paths import ROOT

PRODUCT = ("flows", "tasks", "models", "storage")
LIMITS = {
    "lines": 30_060,  # of the product
    "file": 300,  # lines of a module
    "function": 60,  # lines of a function, without its docstring
    "entries": 12,  # of a folder, without __init__.py
}  # No two folders may import each other.
UNITS = {"file": "lines", "function": "lines", "entries": "entries"}

Sizes: TypeAlias = list[tuple[int, str]]
"""The largest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What was measured."""

    lines: int
    folders: dict[str, int]
    """Folder → lines of its modules and of all below it."""
    functions_p95: int
    """Lines that 95 % of them do not exceed, without docstrings."""
    largest: dict[str, Sizes]
    """By the names of ``UNITS``."""
    two_way: list[str]

    def broken(self) -> Iterator[str]:
        """Every rule that is broken, in a line."""
        if self.lines > LIMITS["lines"]:
            yield f"the product has {self.lines:,} lines, {LIMITS['lines']:,} at most"
        for kind, sizes in self.largest.items():
            for size, name in sizes:
                if size > LIMITS[kind]:
                    yield f"{name} has {size} {UNITS[kind]}, {LIMITS[kind]} at most"
        yield from (f"{pair} import each other" for pair in self.two_way)

    def table(self) -> str:
        """The figures and their limits, for people."""
        rows: list[tuple[int, int | str, str]] = [(n, "", f) for f, n in self.folders.items()]
        rows.append((self.lines, LIMITS["lines"], "lines of the product"))
        for kind, sizes in self.largest.items():
            rows += [(size, LIMITS[kind], f"{UNITS[kind]} in {name}") for size, name in sizes[:1]]
        rows.append((self.functions_p95, "", "lines at most in 95 % of the functions"))
        rows.append((len(self.two_way), 0, "pairs of folders that import each other"))
        return "\n".join(f"{size:>7} {limit:>7}  {what}" for size, limit, what in rows)


def measure(root: Path) -> House:
    """Measures the product in the checkout at ``root``."""
    files = sorted(file for folder in PRODUCT for file in (root / folder).rglob("*.py"))
    texts = {file.relative_to(root): file.read_text() for file in files}
    lines = {file: len(text.splitlines()) for file, text in texts.items()}
    trees = {file: ast.parse(text) for file, text in texts.items()}
    folders = sorted({folder for file in lines for folder in file.parents} - {Path()})
    functions = sorted(one for file, tree in trees.items() for one in _functions(file, tree))
    imports = {file: set(_imported(root, tree)) for file, tree in trees.items()}
    return House(
        lines=sum(lines.values()),
        folders={str(f): sum(n for file, n in lines.items() if f in file.parents) for f in folders},
        functions_p95=functions[len(functions) * 95 // 100][0] if functions else 0,
        largest={
            "file": sorted(((n, str(file)) for file, n in lines.items()), reverse=True),
            "function": functions[::-1],
            "entries": sorted(((_entries(root / f), str(f)) for f in folders), reverse=True),
        },
        two_way=sorted(_two_way(imports)),
    )


def _functions(file: Path, tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            said = node.body[:1] if ast.get_docstring(node) is not None else []
            size, *docstring = ((one.end_lineno or 0) - one.lineno + 1 for one in (node, *said))
            yield size - sum(docstring), f"{file}:{node.lineno} {node.name}"


def _entries(folder: Path) -> int:
    """Files and folders in it, data included."""
    return len({one.name for one in folder.iterdir()} - {"__init__.py", "__pycache__"})


def _imported(root: Path, tree: ast.Module) -> Iterator[Path]:
    """The modules that a module imports; a package is taken for its ``__init__.py``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            within = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            for package, *rest in ((within + one.name).split(".") for one in node.names):
                if package == "meldflow":
                    yield _module(root, Path(*rest))


def _module(root: Path, path: Path) -> Path:
    """The file of what is imported: a module, a package, or a name in one of them."""
    if (root / path).is_dir():
        return path / "__init__.py"
    file = path.with_suffix(".py")
    return file if (root / file).is_file() else _module(root, path.parent)


def _two_way(imports: Mapping[Path, set[Path]]) -> Iterator[str]:
    """Pairs of folders that import each other: two in one folder, or a folder and one within it.

    A folder stands for all below it, but beside one within it for its own modules alone; of
    these, ``__init__.py`` does not count, since it only passes names on.
    """
    arrows = {_arrow(file, other) for file, others in imports.items() for other in others}
    return (f"{one} and {two}" for one, two in arrows if one < two and (two, one) in arrows)


def _arrow(file: Path, other: Path) -> tuple[Path, Path]:
    """The folders between which an import goes; the same one twice where it leads nowhere else."""
    common = next(one for one in file.parents if one in other.parents)
    if common / "__init__.py" in (file, other):
        return common, common
    depth = len(common.parts) + 1
    one, two = (Path(*module.parent.parts[:depth]) for module in (file, other))
    return one, two


def main(arguments: list[str] | None = None, root: Path = ROOT) -> str | int:
    """Prints the figures; gives what is broken, to exit with."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print every figure as JSON")
    as_json, house = parser.parse_args(arguments).json, measure(root)
    known = asdict(house) | {"broken": list(house.broken())}
    print(json.dumps(known) if as_json else house.table(), flush=True)
    return "\n".join(known["broken"]) or 0


if __name__ == "__main__":
    sys.exit(main())
