"""Prefect flows, and the command line: orchestration only."""

from __future__ import annotations

import os

DIRECTORY = "MELDFLOW_DIRECTORY"
"""Names the folder that a run of a Prefect worker's means relative paths from."""

if directory := os.environ.get(DIRECTORY):
    os.chdir(directory)
