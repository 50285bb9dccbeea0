"""Servers that clusters really run, on loopback; a test is skipped where one is not installed."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.infra.slurm import Slurm, open_slurm


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    """A Slurm of one node, which everybody may use."""
    with (
        tempfile.TemporaryDirectory(prefix="slurm-") as folder,
        open_slurm(Path(folder)) as running,
    ):
        yield running
