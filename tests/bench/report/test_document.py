"""Any bench's JSON as tables, and docs/performance.md from it."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from meldflow.models.schema.errors import UsageError
from tests.bench.report import document
from tests.bench.report.screen import show
from tests.bench.report.sections import SECTIONS, Section
from tests.bench.report.tables import tables

COMMAND = "python -m tests.bench limit --json"
MEASURED: dict[str, Any] = {
    "command": COMMAND,
    "date": "2026-11-26",
    "hardware": {"cpu": "A", "cores": 2, "memory_gib": 8.0, "system": "Linux", "workers": 2},
    "versions": {"python": "3.11.7", "torch": "2.14"},
}
EXTRACT: dict[str, Any] = {
    "ratio": {"fp32": {"median": 4.5, "max": 4.75}, "bf16": None},
    "usual": {"cpu_seconds": 0.5, "steps": {"ffmpeg": 0.1}, "rounds": [{"s": 1}, {"s": 3}]},
    "clips": 1048,
    "measured": MEASURED,
}


def written(folder: Path, found: dict[str, Any]) -> str:
    for name, one in found.items():
        (folder / f"{name}.json").write_text(json.dumps(one))
    return document.document(folder)


def test_records_are_rows_and_what_is_not_there_is_left_out() -> None:
    (ratio, clips) = tables(EXTRACT, ("ratio", "clips", "none", "clips.none"))
    assert (ratio.head, ratio.rows) == (("ratio", "median", "max"), [("fp32", "4.5", "4.75")])
    assert clips.rows == [("", "1,048")]


def test_wide_records_are_columns_and_of_rounds_the_median_counts() -> None:
    record = {"network": "a"} | {f"f{n}": n for n in range(20)} | {"s": [1.0, 3.0]}
    (one,) = tables({"sizes": [record]}, ("sizes",))
    assert one.head == ("sizes", "a")
    assert {("f7", "7"), ("s", "2")} <= set(one.rows)
    (other,) = tables({"sizes": {"a": record, "b": {"s": 4}}}, ("sizes.*.s",))
    assert other.rows == [("a", "2"), ("b", "4")]


def test_a_section_has_its_figures_and_the_command_that_repeats_them(tmp_path: Path) -> None:
    page = written(
        tmp_path, {"extract": EXTRACT, "limit": {"gflop": {"minilm": 20.5}, "stages": {}}}
    )
    assert all(f"## {section.title}" in page for section in SECTIONS)
    assert "| fp32 | 4.5 | 4.75 |" in page
    assert "| minilm | 20.5 |" in page
    assert f"`{COMMAND}`, 2026-11-26" in page
    assert page.count("Not run. `python -m tests.bench ") == len(SECTIONS) - 3  # stages is in limit
    lines = [line for line in page.splitlines() if line.startswith("|")]
    assert all(
        above.count("|") == below.count("|")
        for above, below in pairwise(lines)
        if below.startswith("| ---")
    )


def test_figures_of_other_versions_say_so(tmp_path: Path) -> None:
    newer = MEASURED | {"date": "2026-12-01", "versions": MEASURED["versions"] | {"torch": "3.0"}}
    page = written(tmp_path, {"extract": EXTRACT, "store": {"growth": [], "measured": newer}})
    assert "Versions: python 3.11.7, torch 3.0." in page
    assert f"`{COMMAND}`, 2026-11-26, torch 2.14" in page


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text("{")
    with pytest.raises(UsageError, match=r"scale\.json: is no JSON"):
        document.document(tmp_path)


def test_only_what_is_missing_is_run_and_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, bad = (
        Section(name=name, title=name, about="", figures=()) for name in ("there", "no-bench")
    )
    monkeypatch.setattr(document, "SECTIONS", (there, bad))
    (tmp_path / "there.json").write_text("1")
    assert document.run(tmp_path, Console(quiet=True)) == ["no-bench"]
    assert not (tmp_path / "no-bench.json").exists()


def test_the_program_writes_the_page(tmp_path: Path) -> None:
    page = tmp_path / "p.md"
    command = [sys.executable, "-m", "tests.bench.report.document", str(tmp_path), str(page)]
    subprocess.run(command, check=True, capture_output=True)
    assert page.read_text().startswith("# Performance\n")


def test_the_screen_says_how_to_read_the_figures(capsys: pytest.CaptureFixture[str]) -> None:
    show("extract", EXTRACT, as_json=False)
    shown = capsys.readouterr().out
    assert " ".join(shown.split()).startswith(SECTIONS[0].about)
    assert "4.75" in shown
    show("extract", EXTRACT, as_json=True)
    assert json.loads(capsys.readouterr().out)["clips"] == 1048
