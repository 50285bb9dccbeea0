"""A bench as one runs it: a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def run(*arguments: str | Path, cwd: Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    """Runs a bench to its end and checks its exit code."""
    command = [sys.executable, "-m", "tests.bench", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=cwd, capture_output=True, text=True, timeout=540, check=False
    )
    assert done.returncode == code, f"exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def measured(*arguments: str | Path, cwd: Path) -> Any:
    """What a bench prints as JSON."""
    return json.loads(run(*arguments, "--json", cwd=cwd).stdout)
