"""docs/performance.md, from samples of what the benches print."""

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
from tests.bench import document
from tests.bench.measured import MEASURED, limit, samples
from tests.bench.sections import SECTIONS, Section
from tests.bench.stages import PARTS


def written(folder: Path, found: dict[str, Any]) -> str:
    for name, one in found.items():
        (folder / f"{name}.json").write_text(json.dumps(one))
    return document.document(folder)


def test_every_section_has_its_figures_and_the_command_that_repeats_them(tmp_path: Path) -> None:
    page = written(tmp_path, samples())
    for section in SECTIONS:
        assert f"## {section.title}" in page
        assert section.within or f"`{section.line}`" in page
    assert "Not run" not in page
    assert "does not know" not in page
    assert f"`{MEASURED['command']}`, 2026-11-26" in page
    for figure in ("| fp32 | 4.50 | 4.25 | 4.75 |", "up to 16 workers", "0.999900", "10.00"):
        assert figure in page
    assert " cores, " in page.partition("##")[0]
    lines = [line for line in page.splitlines() if line.startswith("|")]
    for above, below in pairwise(lines):
        if below.startswith("| ---"):
            assert above.count("|") == below.count("|")


def test_the_share_and_the_multiple_are_computed_from_the_runs(tmp_path: Path) -> None:
    found, parts = limit(), len(PARTS)
    run = found.job.runs[0].to_json()
    assert run["total_ms"] == pytest.approx(10 * parts)
    assert run["rest_share"] == pytest.approx(6 / parts, abs=1e-4)
    assert run["fixed_cpu_seconds"]["flow"] == pytest.approx(1.0)
    assert run["at_meld"]["cpu_ms_per_clip"]["flow"] == pytest.approx(10 + 1000 / 13_708, abs=1e-3)
    (one,) = found.against
    assert one.best.gflop_per_second == 100.0
    assert sum(one.floor.values()) == pytest.approx(20.0)
    assert one.multiples["video/resnet50"] == pytest.approx(2.0, rel=0.02)
    assert one.multiples["flow"] is None
    assert one.multiple == pytest.approx(parts / 2, rel=0.02)


def test_figures_of_other_versions_say_so(tmp_path: Path) -> None:
    newer = MEASURED | {"date": "2026-12-01", "versions": MEASURED["versions"] | {"torch": "3.0"}}
    page = written(tmp_path, samples() | {"store": samples()["store"] | {"measured": newer}})
    assert "Versions: python 3.11.7, torch 3.0." in page
    assert f"`{MEASURED['command']}`, 2026-11-26, torch 2.14" in page
    assert f"`{MEASURED['command']}`, 2026-12-01\n" in page


def test_what_was_not_run_says_how_to_run_it(tmp_path: Path) -> None:
    page = written(tmp_path, {"store": samples()["store"]})
    assert page.count("Not run.") == len(SECTIONS) - 1
    assert "Not run. `meldflow bench extract --json` measures it." in page
    assert "The machine was not recorded." in page


def test_figures_of_another_form_cost_their_section_only(tmp_path: Path) -> None:
    page = written(tmp_path, samples() | {"scale": {"real": 3}})
    assert page.count("of a form that this page does not know") == 1
    assert "| open |" in page


def test_a_file_that_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "scale.json").write_text("{")
    with pytest.raises(UsageError, match=r"scale\.json: is no JSON"):
        document.document(tmp_path)


def test_only_what_is_missing_is_run_and_a_failure_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def section(name: str, code: str) -> Section:
        command = ("python", "-c", code)
        return Section(name=name, title=name, command=command, about="", blocks=lambda _: iter(()))

    good, bad = section("good", "print(7)"), section("bad", "print(7); raise SystemExit(3)")
    there = section("there", "raise SystemExit(3)")
    monkeypatch.setattr(document, "SECTIONS", (good, bad, there))
    (tmp_path / "there.json").write_text("1")
    assert document.run(tmp_path, Console(quiet=True)) == ["bad"]
    assert json.loads((tmp_path / "good.json").read_text()) == 7
    assert not (tmp_path / "bad.json").exists()


def test_the_program_writes_the_page(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench.document", str(tmp_path), str(tmp_path / "p.md")]
    subprocess.run(command, check=True, capture_output=True)
    assert (tmp_path / "p.md").read_text().startswith("# Performance\n")
