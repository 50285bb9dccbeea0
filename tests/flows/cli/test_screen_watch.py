"""What `meldflow watch` draws, at any width."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console

from meldflow.flows.cli.screen.watch import _screen
from meldflow.flows.serving.runs import RunSeen, RunView

VIEW = RunView(
    run=RunSeen(
        id="1",
        name="extract-[bold]store",
        flow="extract",
        state="Running",
        kind="RUNNING",
        message="",
        started="2026-01-01T00:00:00Z",
        seconds=75.0,
        progress={"planned": "200", "done": "50"},
    ),
    words="**50 of 200 features**, 2.0 per second, about 1 min 15 s left.",
    failures=[{"extractor": "audio/librosa", "reason": "silent", "utterances": 3, "which": "a, b"}],
    workers=[{"worker": f"w{i}", "CPU": "9 %", "memory": "1 GB"} for i in range(12)],
)


@pytest.mark.parametrize("width", [60, 80, 200])
def test_every_part_has_lines_of_its_own(width: int) -> None:
    console = Console(width=width, record=True, force_terminal=True, file=io.StringIO())
    console.print(_screen(VIEW, "the server does not answer, since 4 s"))
    lines = console.export_text().splitlines()
    assert lines[0] == "extract-[bold]store  Running  1 min 15 s"
    assert "the server does not answer" in lines[1]
    assert set(lines[2].strip()) <= set("━╸╺ ")
    assert lines[3].startswith("50 of 200 features")
    assert any("silent" in line for line in lines)
    assert "and 2 more" in lines[-1]
    assert max(map(len, lines)) <= width


def test_a_terminal_shows_long_lines_whole() -> None:
    program = (
        "from dataclasses import replace\n"
        "from meldflow.flows.cli.screen.watch import following\n"
        "from tests.flows.cli.test_screen_watch import VIEW\n"
        "with following(as_json=False) as show:\n"
        "    show(replace(VIEW, failures=[], workers=[]), 'the server is away ' * 8 + 'still')\n"
    )
    ours, theirs = os.openpty()
    environment = {**os.environ, "COLUMNS": "60", "TERM": "xterm"}
    subprocess.run([sys.executable, "-c", program], stdout=theirs, env=environment, check=True)
    os.close(theirs)
    assert b"still" in os.read(ours, 1 << 16)
    os.close(ours)
