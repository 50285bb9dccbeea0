"""``python -m tests.bench``: the benches, from the checkout's root."""

from __future__ import annotations

import os

from meldflow.flows.cli.main import answer
from tests.bench.cli import bench_commands
from tests.paths import importable

if __name__ == "__main__":
    # Children measure this checkout and find its benches, whatever folder they start in.
    os.environ["PYTHONPATH"] = importable()
    answer(bench_commands)
