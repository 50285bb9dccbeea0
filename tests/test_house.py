"""Rules of the house that no linter knows."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

import meldflow
from tests.house import LIMITS, main, measure
from tests.paths import ROOT

PACKAGES = ("flows", "tasks", "models", "storage")


LIGHT = (
    *("meldflow.storage", "meldflow.testing", "meldflow.models.extractors.registry"),
    *("meldflow.models.clips.decode", "meldflow.models.training.run"),
    *("meldflow.tasks.extraction.stages", "meldflow.flows.cli.main"),
    *("meldflow.flows.extract", "meldflow.flows.train", "meldflow.flows.pipeline"),
)
"""Modules that are imported without torch."""


def test_importing_does_not_import_torch() -> None:
    code = (
        "import importlib, sys\n"
        "for name in sys.argv[1:]:\n"
        "    importlib.import_module(name)\n"
        "    assert 'torch' not in sys.modules, name"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, *LIGHT], check=True, cwd=ROOT)


def test_the_package_itself_loads_nothing() -> None:
    code = "import sys, meldflow; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    loaded = set(done.stdout.split())
    assert "meldflow" in loaded
    assert not loaded & {"torch", "prefect", "dask", "distributed", "numpy", "zarr", "pydantic"}


@pytest.mark.parametrize("name", sorted({*meldflow._HOMES, "testing", "__version__"}))
def test_names_of_the_package_are_there(name: str) -> None:
    assert name in dir(meldflow)
    assert getattr(meldflow, name) is getattr(meldflow, name)
    stated = (ROOT / "src" / "meldflow" / "__init__.py").read_text()
    assert name == "__version__" or f" {name} as {name}\n" in stated, "mypy does not know of it"


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(AttributeError, match="module 'meldflow' has no attribute 'open_shop'"):
        _ = meldflow.open_shop  # type: ignore[attr-defined]


@pytest.mark.parametrize("file", sorted((ROOT / "flows").glob("*.py")), ids=lambda p: p.stem)
def test_flow_files_have_names_of_their_own(file: Path) -> None:
    """Prefect may load a flow file by its bare name, which must not hide another module."""
    if file.stem != "__init__":
        assert file.stem not in {*sys.stdlib_module_names, *PACKAGES}
        assert importlib.util.find_spec(file.stem) is None


def test_the_map_names_every_room() -> None:
    """``CONTRIBUTING.md`` opens with the tree of the product's folders, one line each."""
    named: list[str] = []
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("```\n")[2].partition("```")[0]
    for line in text.splitlines():
        name, about = line.split("/ ", 1)
        depth = (len(line) - len(line.lstrip())) // 2
        assert about.strip()
        named.append("/".join([*(named[-1].split("/")[:depth] if depth else []), name.strip()]))
    rooms = {one for one in named if one.partition("/")[0] in PACKAGES}
    there = {
        str(file.parent.relative_to(ROOT))
        for room in PACKAGES
        for file in ROOT.glob(f"{room}/**/*.py")
    }
    assert rooms == there


def test_the_paths_that_the_guide_for_contributors_names_are_there() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text().partition("## Commands")[2]
    paths = set(re.findall(r"`([a-z_]+/[\w/.-]*)`", text))
    assert [path for path in paths if not (ROOT / path).exists()] == ["build/site"]


def test_the_lock_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert "--index-url" not in lock
    assert "://" not in lock


_LONG = 'def long() -> None:\n    """Told.\n{}    """\n{}'
HOUSES: dict[str, tuple[dict[str, str], list[str]]] = {
    "fine": (
        {
            "flows/a.py": "from meldflow.tasks import face\n" + "\n" * 299,
            "tasks/__init__.py": "from meldflow.tasks.room.b import face",
            "tasks/c.py": _LONG.format("    Said.\n" * 60, "    print()\n" * 59),
            "tasks/room/b.py": "import meldflow.storage, os\nfrom meldflow.tasks import c",
            **{f"storage/data{n}": "" for n in range(11)},
            "storage/__init__.py": "",
        },
        [],
    ),
    "long": (
        {"flows/a.py": "\n" * 301, "tasks/c.py": _LONG.format("", "    print()\n" * 60)},
        [
            "flows/a.py has 301 lines, 300 at most",
            "tasks/c.py:1 long has 61 lines, 60 at most",
        ],
    ),
    "large": (
        {f"flows/room{n}/a.py": "\n" * 300 for n in range(200)},
        [
            f"the product has 60,000 lines, {LIMITS['lines']:,} at most",
            "flows has 200 entries, 12 at most",
        ],
    ),
    "siblings": (
        {
            "storage/a/deep/b.py": "def f() -> None:\n    from meldflow.storage.c import d\n",
            "storage/c/d.py": "from meldflow.storage.a.other import name",
            "storage/a/other.py": "name = 1",
        },
        ["storage/a and storage/c import each other"],
    ),
    "folder and its own": (
        {
            "models/a.py": "from meldflow.models.room import b",
            "models/room/b.py": "import meldflow.models.c",
            "models/c.py": "",
        },
        ["models and models/room import each other"],
    ),
}


@pytest.mark.parametrize(("files", "broken"), HOUSES.values(), ids=HOUSES)
def test_every_broken_rule_is_told(
    files: dict[str, str], broken: list[str], tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert main([], root=tmp_path) == ("\n".join(broken) or 0)
    assert list(measure(tmp_path).broken()) == broken
