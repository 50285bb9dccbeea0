"""Prefect flows, and the command line: orchestration only."""

import logging
import os

DIRECTORY = "MELDFLOW_DIRECTORY"
"""Names the folder that a run of a Prefect worker's means relative paths from."""

if directory := os.environ.get(DIRECTORY):
    os.chdir(directory)
    from meldflow.flows.serving.steps import in_one_sentence

    logging.getLogger("prefect.flow_runs").addFilter(in_one_sentence)
