"""``python -m tests.bench``: the benches, from the checkout's root."""

from __future__ import annotations

import os

from meldflow.flows.cli.main import answer
from tests.bench.agreement import cli as _agreement  # noqa: F401 (it registers its commands)
from tests.bench.card import cli as _card  # noqa: F401 (likewise)
from tests.bench.cli import bench_commands
from tests.paths import IMPORTS

if __name__ == "__main__":
    os.environ["PYTHONPATH"] = IMPORTS  # children measure this checkout and find its benches
    answer(bench_commands)
