"""Processes that used a store end with their own exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from meldflow.storage.places import location
from tests.paths import ROOT

ENDED = {-6, -11}
"""SIGABRT or SIGSEGV: what a thread of Icechunk's does to a process that ends under it."""


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="such threads hang there, and harm nobody")
@pytest.mark.parametrize("cured", [True, False])
def test_a_process_may_end_while_icechunk_wakes_the_event_loop(tmp_path: Path, cured: bool) -> None:
    store = str(tmp_path / "store")
    location.create(store, partition=4)
    script = f"from tests.storage.places import leaver; leaver.main({store!r}, cured={cured})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "read\n"
    assert done.returncode in ({0} if cured else ENDED), done.stderr
